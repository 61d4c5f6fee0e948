#include "fl/compression/deploy/prune_weights.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "fl/compression/deploy/rewrite_graph.h"

namespace fl::deploy {
namespace {

constexpr std::size_t kBlock = 4;

bool HasMatrix(const nn::Node& node) {
  return node.kind == nn::OpKind::kDense || node.kind == nn::OpKind::kConv2d;
}

std::size_t OutputsOf(const nn::Node& node) {
  return node.shape[node.shape.rank() - 1];
}

Result<std::vector<std::size_t>> LayersOf(const nn::Graph& graph,
                                          const PruneWeightsConfig& config) {
  std::vector<std::size_t> nodes;
  for (const std::string& name : config.layers) {
    FL_TRY(const std::size_t node, FindNode(graph, name));
    if (!HasMatrix(graph.nodes[node])) {
      return Error{ErrorCode::kInvalidArgument, "expected conv or dense layers, found " + name};
    }
    nodes.push_back(node);
  }
  std::ranges::sort(nodes);
  for (std::size_t i = 0; i < graph.nodes.size() && config.layers.empty(); ++i) {
    if (HasMatrix(graph.nodes[i])) nodes.push_back(i);
  }
  if (!nodes.empty()) return nodes;
  return Error{ErrorCode::kInvalidArgument, "expected a conv or dense layer, found none"};
}

// One layer's weight while units (weights, or blocks of them) are chosen.
struct Layer {
  std::span<const double> scores;  // Of the weights.
  std::size_t outputs = 0;
  std::vector<std::uint8_t>* mask = nullptr;

  std::size_t rows() const { return mask->size() / outputs; }
  std::size_t blocks_in_row(std::size_t width) const { return (outputs + width - 1) / width; }
  // The weights of a unit.
  std::size_t first(std::size_t unit, std::size_t width) const {
    const std::size_t in_row = blocks_in_row(width);
    return unit / in_row * outputs + unit % in_row * width;
  }
  std::size_t count(std::size_t unit, std::size_t width) const {
    return std::min(width, outputs - unit % blocks_in_row(width) * width);
  }
  void Remove(std::size_t unit, std::size_t width) {
    std::fill_n(mask->begin() + static_cast<std::ptrdiff_t>(first(unit, width)), count(unit, width),
                std::uint8_t{0});
  }
};

// A unit of a layer: those without a weight that lives come first, then by score, then in order.
struct Ranked {
  double score = 0;
  std::uint32_t layer = 0;
  std::size_t unit = 0;
  friend auto operator<=>(const Ranked&, const Ranked&) = default;
};

std::vector<Ranked> RankUnits(const Layer& layer, std::uint32_t index, std::size_t width) {
  std::vector<Ranked> units(layer.rows() * layer.blocks_in_row(width));
  for (std::size_t i = 0; i < units.size(); ++i) {
    const std::size_t first = layer.first(i, width);
    const std::size_t count = layer.count(i, width);
    double sum = 0;
    bool lives = false;
    for (std::size_t k = first; k < first + count; ++k) {
      sum += layer.scores[k];
      lives = lives || (*layer.mask)[k] != 0;
    }
    units[i] = {lives ? sum / static_cast<double>(count) : -1, index, i};
  }
  return units;
}

std::size_t ShareOf(double share, std::size_t count) {
  return static_cast<std::size_t>(std::llround(share * static_cast<double>(count)));
}

void RemoveByLayer(std::vector<Layer>& layers, double sparsity, std::size_t width) {
  for (Layer& layer : layers) {
    std::vector<Ranked> units = RankUnits(layer, 0, width);
    const auto end = units.begin() + static_cast<std::ptrdiff_t>(ShareOf(sparsity, units.size()));
    std::nth_element(units.begin(), end, units.end());
    for (auto unit = units.begin(); unit != end; ++unit) layer.Remove(unit->unit, width);
  }
}

void RemoveGlobally(std::vector<Layer>& layers, double sparsity, double layer_cap,
                    std::size_t width) {
  std::vector<Ranked> all;
  std::vector<std::size_t> allowed;
  for (std::uint32_t i = 0; i < layers.size(); ++i) {
    std::vector<Ranked> units = RankUnits(layers[i], i, width);
    const double mean = std::accumulate(layers[i].scores.begin(), layers[i].scores.end(), 0.0) /
                        static_cast<double>(layers[i].scores.size());
    for (Ranked& unit : units) {
      if (unit.score > 0 && mean > 0) unit.score /= mean;
    }
    allowed.push_back(ShareOf(layer_cap, units.size()));
    all.insert(all.end(), units.begin(), units.end());
  }
  std::ranges::sort(all);
  std::size_t left = ShareOf(sparsity, all.size());
  for (const Ranked& unit : all) {
    if (left == 0) return;
    if (allowed[unit.layer] == 0) continue;
    layers[unit.layer].Remove(unit.unit, width);
    --allowed[unit.layer];
    --left;
  }
}

// Of each m inputs of an output channel, `gone` go.
void RemoveOfEachM(Layer& layer, std::size_t m, std::size_t gone) {
  std::vector<Ranked> group(m);
  for (std::size_t row = 0; row + m <= layer.rows(); row += m) {
    for (std::size_t output = 0; output < layer.outputs; ++output) {
      for (std::size_t i = 0; i < m; ++i) {
        const std::size_t at = (row + i) * layer.outputs + output;
        group[i] = {(*layer.mask)[at] != 0 ? layer.scores[at] : -1, 0, at};
      }
      std::ranges::sort(group);
      for (std::size_t i = 0; i < gone; ++i) (*layer.mask)[group[i].unit] = 0;
    }
  }
}

// Makes the masks as sparse as the schedule has it after `progress` of the way.
void Remove(const PruneWeightsConfig& config, double progress, std::vector<Layer>& layers) {
  if (config.pattern == SparsityPattern::kNOfM) {
    const double gone = CubicSparsity(config.m - config.n, progress);
    for (Layer& layer : layers)
      RemoveOfEachM(layer, config.m, static_cast<std::size_t>(std::llround(gone)));
    return;
  }
  const std::size_t width = config.pattern == SparsityPattern::kBlock ? kBlock : 1;
  const double sparsity = CubicSparsity(config.sparsity, progress);
  if (config.global) {
    RemoveGlobally(layers, sparsity, config.layer_cap, width);
  } else {
    RemoveByLayer(layers, sparsity, width);
  }
}

std::string WithCommas(std::size_t number) {
  const std::string digits = std::to_string(number);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

}  // namespace

double CubicSparsity(double final_sparsity, double progress) {
  const double rest = 1 - progress;
  return final_sparsity * (1 - rest * rest * rest);
}

SparsityCount CountZeros(const nn::Graph& graph, std::span<const float> parameters) {
  SparsityCount count;
  for (const nn::Node& node : graph.nodes) {
    if (!HasMatrix(node)) continue;
    const std::size_t tensor = node.parameters[0];
    const auto weights =
        parameters.subspan(graph.parameters.offset(tensor), graph.parameters[tensor].shape.count());
    const std::size_t outputs = OutputsOf(node);
    for (std::size_t row = 0; row < weights.size(); row += outputs) {
      for (std::size_t first = 0; first < outputs; first += kBlock) {
        const auto block = weights.subspan(row + first, std::min(kBlock, outputs - first));
        const auto zeros = static_cast<std::size_t>(std::ranges::count(block, 0.0F));
        count.zeros += zeros;
        count.weights += block.size();
        count.zero_blocks += zeros == block.size() ? 1 : 0;
        ++count.blocks;
      }
    }
  }
  return count;
}

std::string DescribeSparsity(const SparsityCount& count) {
  const auto percent = [](std::size_t part, std::size_t whole) {
    return whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  };
  const double blocks = percent(count.zero_blocks, count.blocks);
  char text[200];
  std::snprintf(text, sizeof(text), "%.1f %% of %s weights and %.1f %% of the blocks of 4 are 0",
                percent(count.zeros, count.weights), WithCommas(count.weights).c_str(), blocks);
  return std::string(text) +
         (blocks >= 70
              ? "; an int8 file leaves those blocks out, and its large dense layers run faster"
              : "; inference is not faster before 70 % of the blocks are 0");
}

Result<> PruneWeights(const PruneWeightsConfig& config, const ImportanceInputs& inputs,
                      const Retrain& retrain, WorkingModel& model) {
  FL_TRY(const std::vector<std::size_t> nodes, LayersOf(model.graph, config));
  for (std::uint32_t step = 1; step <= config.steps; ++step) {
    FL_TRY(const std::vector<double> scores,
           ScoreWeights(model.graph, model.parameters, nodes, config.importance,
                        {inputs.samples, inputs.rng.Child("step", step)}));
    std::vector<Layer> layers;
    for (const std::size_t index : nodes) {
      const std::size_t tensor = model.graph.nodes[index].parameters[0];
      const TensorSpec& spec = model.graph.parameters[tensor];
      std::vector<std::uint8_t>& mask = model.masks[spec.name];
      mask.resize(spec.shape.count(), 1);
      layers.push_back(
          {std::span(scores).subspan(model.graph.parameters.offset(tensor), spec.shape.count()),
           OutputsOf(model.graph.nodes[index]), &mask});
    }
    Remove(config, static_cast<double>(step) / config.steps, layers);
    FL_TRY_OK(ApplyMasks(model.graph, model.masks, model.parameters));
    if (retrain) FL_TRY_OK(retrain(step, model));
  }
  return {};
}

}  // namespace fl::deploy
