#include "fl/compression/narrowing.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "fl/common/base/check.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/operator.h"
#include "fl/common/nn/plain_graph.h"
#include "fl/compression/codecs/shared_support.h"

namespace fl {
namespace {

bool HasWeights(const nn::Node& node) {
  return !node.parameters.empty();
}

// "dense 200" with another number of units, "conv 32 3x3 ..." with another number of channels.
std::string WithUnits(const std::string& line, std::size_t units) {
  const std::size_t first = line.find(' ') + 1;
  const std::size_t end = std::min(line.find(' ', first), line.size());
  return line.substr(0, first) + std::to_string(units) + line.substr(end);
}

}  // namespace

Result<Narrowing> Narrowing::Create(const nn::Graph& graph, double width, std::uint64_t seed) {
  FL_CHECK(width > 0 && width < 1, "a plan's width is checked where it is read");
  FL_TRY_OK(nn::ExpectPlain(graph, "a width below 1"));
  if (!graph.frozen.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "expected 1 where tensors are frozen: what is drawn changes from round to round"};
  }
  for (std::size_t i = 1; i < graph.nodes.size(); ++i) {
    const nn::Node& node = graph.nodes[i];
    const bool chained = node.inputs.size() == 1 && node.inputs[0] + 1 == i && node.groups == 1;
    const nn::PruneRule rule = *nn::RulesOf(node.kind).prune;
    if (chained && (rule == nn::PruneRule::kOwnsChannels || node.parameters.empty()) &&
        rule != nn::PruneRule::kMixesChannels)
      continue;
    return Error{ErrorCode::kInvalidArgument,
                 "expected 1 for a model with the layer " + node.name +
                     ": units are left out of chains of dense and conv layers alone"};
  }
  Narrowing narrowing;
  narrowing.seed_ = seed;
  narrowing.whole_ = graph.parameters;
  FL_TRY_OK(narrowing.FindLayers(graph, width));
  FL_TRY_OK(narrowing.BuildNarrow(graph));
  return narrowing;
}

Result<> Narrowing::FindLayers(const nn::Graph& graph, double width) {
  const auto last = std::ranges::find_if(graph.nodes.rbegin(), graph.nodes.rend(), HasWeights);
  std::optional<std::size_t> from;  // The layer whose units the value at hand has.
  std::size_t units = graph.input_shape().extents().back();
  for (const nn::Node& node : graph.nodes) {
    if (!HasWeights(node)) continue;
    const Shape& weight = graph.parameters[node.parameters[0]].shape;
    const std::size_t outputs = weight.extents().back();
    std::optional<std::size_t> to;
    if (&node != &*last) {
      to = layers_.size();
      const double kept = std::ceil(width * static_cast<double>(outputs));
      layers_.push_back({outputs, static_cast<std::size_t>(kept)});
    }
    axes_.push_back({weight.count() / outputs / units, units, outputs, from, to});
    axes_.push_back({1, 1, outputs, std::nullopt, to});
    from = to;
    units = outputs;
  }
  if (!layers_.empty()) return Ok{};
  return Error{ErrorCode::kInvalidArgument,
               "expected 1 for a model without hidden layers, whose units could be left out"};
}

Result<> Narrowing::BuildNarrow(const nn::Graph& graph) {
  std::vector<std::string> lines = nn::DescribeLayers(graph);
  std::size_t layer = 0;
  for (std::size_t i = 1; i < graph.nodes.size() && layer < layers_.size(); ++i) {
    if (!HasWeights(graph.nodes[i])) continue;
    lines[i - 1] = WithUnits(lines[i - 1], layers_[layer++].kept);
  }
  FL_TRY(narrow_, nn::BuildGraph(graph.input_shape(), lines, nn::LossName(graph.loss)));
  for (std::size_t tensor = 0; tensor < axes_.size(); ++tensor) {
    if (!axes_[tensor].from) continue;
    const Layer& from = layers_[*axes_[tensor].from];
    if (from.kept == from.units) continue;
    scaled_.push_back({narrow_.parameters.offset(tensor), narrow_.parameters[tensor].shape.count(),
                       static_cast<float>(from.units) / static_cast<float>(from.kept)});
  }
  return Ok{};
}

std::vector<std::uint32_t> Narrowing::UnitsOf(const std::optional<std::size_t>& layer,
                                              std::size_t all, std::uint64_t round) const {
  if (layer) {
    const RngStream rng = RngStream(seed_).Child("width", round).Child("layer", *layer);
    return DrawSubset(rng, layers_[*layer].units, layers_[*layer].kept);
  }
  std::vector<std::uint32_t> every(all);
  std::iota(every.begin(), every.end(), 0U);
  return every;
}

std::vector<std::uint32_t> Narrowing::CoordinatesOf(std::size_t tensor, std::uint64_t round) const {
  const Axes& axes = axes_[tensor];
  const std::vector<std::uint32_t> inputs = UnitsOf(axes.from, axes.inputs, round);
  const std::vector<std::uint32_t> outputs = UnitsOf(axes.to, axes.outputs, round);
  std::vector<std::uint32_t> coordinates;
  coordinates.reserve(axes.repeats * inputs.size() * outputs.size());
  for (std::size_t repeat = 0; repeat < axes.repeats; ++repeat) {
    for (const std::uint32_t input : inputs) {
      const std::size_t row = (repeat * axes.inputs + input) * axes.outputs;
      for (const std::uint32_t output : outputs)
        coordinates.push_back(static_cast<std::uint32_t>(row + output));
    }
  }
  return coordinates;
}

std::vector<std::uint64_t> Narrowing::AllCoordinates(std::uint64_t round) const {
  std::vector<std::uint64_t> all;
  all.reserve(narrow_.parameters.total());
  for (std::size_t tensor = 0; tensor < axes_.size(); ++tensor) {
    const std::uint64_t first = whole_.offset(tensor);
    for (const std::uint32_t coordinate : CoordinatesOf(tensor, round))
      all.push_back(first + coordinate);
  }
  return all;
}

}  // namespace fl
