#include "fl/compression/deploy/low_rank.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/plain_graph.h"
#include "fl/compression/deploy/choose_within.h"
#include "fl/compression/deploy/rewrite_graph.h"

namespace fl::deploy {
namespace {

Error Invalid(const std::string& message) {
  return {ErrorCode::kInvalidArgument, message};
}

std::string ToText(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g", value);
  return text;
}

// One layer that may be replaced.
struct Candidate {
  std::size_t node = 0;
  LowRankLayer report;
  std::optional<LayerFactorizer> factorizer;  // None where the layer stays.
  std::size_t level_max = 0;                  // The largest that has fewer parameters.
};

bool SplitsExactly(const nn::Graph& graph, const nn::Node& node) {
  if (node.kind != nn::OpKind::kConv2d || node.stride == 1 || node.kernel_width == 1) return true;
  const std::size_t height = graph.nodes[node.inputs[0]].shape[0];
  const auto top = [&](std::size_t output, std::size_t stride) {
    return nn::PaddingBefore(height, output, node.kernel_height, stride, node.same_padding);
  };
  return !node.same_padding || top(node.shape[0], node.stride) == top(height, 1);
}

// Which of the factors carries the stride.
std::size_t StridedFactor(std::span<const Factor> factors) {
  for (std::size_t i = factors.size(); i-- > 0;) {
    if (factors[i].height * factors[i].width > 1) return i;
  }
  return 0;
}

// The lines that stand for the node: NAME_a, NAME_b, ...
std::vector<std::string> LinesOf(const nn::Node& node, std::span<const Factor> factors) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < factors.size(); ++i) {
    const Factor& factor = factors[i];
    std::string line = node.name + "_" + static_cast<char>('a' + i) + ": ";
    if (node.kind == nn::OpKind::kDense) {
      lines.push_back(line + "dense " + std::to_string(factor.outputs));
      continue;
    }
    line += factor.depthwise ? "depthwise " : "conv " + std::to_string(factor.outputs) + " ";
    line += std::to_string(factor.height) + "x" + std::to_string(factor.width);
    if (i == StridedFactor(factors)) line += " stride=" + std::to_string(node.stride);
    lines.push_back(line + (node.same_padding ? " same" : " valid"));
  }
  return lines;
}

std::size_t ParametersOf(std::span<const Factor> factors) {
  std::size_t sum = 0;
  for (const Factor& factor : factors) sum += factor.parameters();
  return sum;
}

// Multiplications of one sample.
std::size_t MacsOf(const nn::Graph& graph, const nn::Node& node, std::span<const Factor> factors) {
  const bool conv = node.kind == nn::OpKind::kConv2d;
  std::size_t height = conv ? graph.nodes[node.inputs[0]].shape[0] : 1;
  std::size_t width = conv ? graph.nodes[node.inputs[0]].shape[1] : 1;
  std::size_t sum = 0;
  for (std::size_t i = 0; i < factors.size(); ++i) {
    const Factor& factor = factors[i];
    if (i == StridedFactor(factors) && conv) {
      height = node.shape[0];
      width = node.shape[1];
    } else if (!node.same_padding) {
      height -= factor.height - 1;
      width -= factor.width - 1;
    }
    sum += height * width * (factor.parameters() - factor.outputs);
  }
  return sum;
}

LayerWeight WeightOf(const nn::Graph& graph, std::span<const float> parameters,
                     const nn::Node& node) {
  const std::size_t tensor = node.parameters[0];
  const Shape& shape = graph.parameters[tensor].shape;
  const auto values = parameters.subspan(graph.parameters.offset(tensor), shape.count());
  if (node.kind == nn::OpKind::kDense) return {1, 1, shape[0], shape[1], values};
  return {shape[0], shape[1], shape[2], shape[3], values};
}

// Everything that the steps below share.
struct Task {
  const nn::Graph& graph;
  std::span<const float> parameters;
  std::span<const float> samples;
  std::size_t count;
  const LowRankConfig& config;
  const RngStream& rng;
};

double CostOf(const Task& task, const Candidate& candidate, const Ranks& ranks) {
  const std::vector<Factor> shapes = candidate.factorizer->ShapesOf(ranks);
  return static_cast<double>(task.config.measure == LowRankMeasure::kMacs
                                 ? MacsOf(task.graph, task.graph.nodes[candidate.node], shapes)
                                 : ParametersOf(shapes));
}

Result<> Prepare(const Task& task, Candidate& candidate) {
  const nn::Node& node = task.graph.nodes[candidate.node];
  const LayerWeight weight = WeightOf(task.graph, task.parameters, node);
  LowRankLayer& report = candidate.report;
  const std::size_t places = node.kind == nn::OpKind::kConv2d ? node.shape[0] * node.shape[1] : 1;
  report.name = node.name;
  report.parameters_before = weight.values.size() + weight.outputs;
  report.macs_before = places * weight.values.size();
  report.parameters_after = report.parameters_before;
  report.macs_after = report.macs_before;
  if (node.groups != 1) {
    report.reason = "has " + std::to_string(node.groups) + " groups";
    return {};
  }
  const bool plain = weight.height * weight.width == 1;
  const LowRankMethod method = plain ? LowRankMethod::kSvd : task.config.method;
  const bool exact = SplitsExactly(task.graph, node);
  if (method == LowRankMethod::kSpatialSvd && !exact) {
    report.reason = "its `same` padding with stride " + std::to_string(node.stride) +
                    " pads the top otherwise than without; svd, tucker and cp can";
    return {};
  }
  LayerInputs inputs;
  if (task.config.weighted && task.count > 0) {
    FL_TRY(inputs, ObserveLayerInputs(task.graph, task.parameters, candidate.node, task.samples,
                                      task.count));
  }
  auto factorizer =
      LayerFactorizer::Create(method, weight, inputs, exact, task.rng.Child("low_rank", node.name));
  if (!factorizer) return factorizer.error().At(node.name);
  candidate.factorizer = std::move(factorizer).value();
  for (std::size_t level = candidate.factorizer->level_max(); level >= 1; --level) {
    const auto shapes = candidate.factorizer->ShapesOf(candidate.factorizer->RanksOf(level));
    if (ParametersOf(shapes) >= report.parameters_before) continue;
    candidate.level_max = level;
    return {};
  }
  report.reason =
      "no rank has fewer than its " + std::to_string(report.parameters_before) + " parameters";
  candidate.factorizer.reset();
  return {};
}

Result<std::vector<Candidate>> FindCandidates(const Task& task) {
  std::set<std::size_t> wanted;
  for (const std::string& name : task.config.layers) {
    FL_TRY(const std::size_t node, FindNode(task.graph, name));
    const nn::OpKind kind = task.graph.nodes[node].kind;
    if (kind != nn::OpKind::kDense && kind != nn::OpKind::kConv2d)
      return Invalid("layers: expected dense layers and convolutions, found " + name);
    wanted.insert(node);
  }
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < task.graph.nodes.size(); ++i) {
    const nn::Node& node = task.graph.nodes[i];
    const bool fits =
        node.kind == nn::OpKind::kDense || (node.kind == nn::OpKind::kConv2d && node.groups == 1);
    if (!(task.config.layers.empty() ? fits : wanted.contains(i))) continue;
    Candidate candidate;
    candidate.node = i;
    FL_TRY_OK(Prepare(task, candidate));
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

// Levels to look at: all where that is cheap, else sixteen in proportion.
std::vector<std::size_t> LevelsOf(const Candidate& candidate) {
  std::vector<std::size_t> levels;
  constexpr std::size_t kLevels = 16;
  for (std::size_t i = 0; i < kLevels; ++i) {
    const double share = static_cast<double>(i) / (kLevels - 1);
    const double level = std::pow(static_cast<double>(candidate.level_max), share);
    levels.push_back(std::clamp<std::size_t>(static_cast<std::size_t>(std::lround(level)), 1,
                                             candidate.level_max));
  }
  if (candidate.factorizer->method() == LowRankMethod::kSvd) {
    levels.clear();
    for (std::size_t level = 1; level <= candidate.level_max; ++level) levels.push_back(level);
  }
  levels.erase(std::unique(levels.begin(), levels.end()), levels.end());
  return levels;
}

// Ranks that share the budget; 0 where a layer stays.
Result<std::vector<Ranks>> ShareBudget(const Task& task, std::span<const Candidate> candidates) {
  std::vector<std::vector<LayerChoice>> choices;
  std::vector<std::vector<Ranks>> ranks;
  double whole = 0;
  double least = 0;
  for (const Candidate& candidate : candidates) {
    const LowRankLayer& report = candidate.report;
    const auto before = static_cast<double>(task.config.measure == LowRankMeasure::kMacs
                                                ? report.macs_before
                                                : report.parameters_before);
    choices.push_back({{before, 0}});
    ranks.push_back({{0, 0}});
    double cheapest = before;
    if (candidate.factorizer) {
      for (const std::size_t level : LevelsOf(candidate)) {
        const Ranks found = candidate.factorizer->RanksOf(level);
        const double cost = CostOf(task, candidate, found);
        if (cost >= before) continue;
        choices.back().push_back({cost, candidate.factorizer->ErrorOf(found)});
        ranks.back().push_back(found);
        cheapest = std::min(cheapest, cost);
      }
    }
    whole += before;
    least += cheapest;
  }
  const auto chosen = ChooseWithin(choices, task.config.budget * whole);
  if (!chosen) {
    return Invalid("budget: " + ToText(task.config.budget) + " of " + ToText(whole) +
                   " cannot be reached; rank 1 wherever it saves leaves " + ToText(least / whole));
  }
  std::vector<Ranks> out;
  for (std::size_t i = 0; i < chosen->size(); ++i) out.push_back(ranks[i][(*chosen)[i]]);
  return out;
}

// The least level that loses no more than the budget, or 0.
std::size_t LevelWithin(const Candidate& candidate, double error) {
  const LayerFactorizer& factorizer = *candidate.factorizer;
  const auto within = [&](std::size_t level) {
    return factorizer.ErrorOf(factorizer.RanksOf(level)) <= error;
  };
  std::size_t high = candidate.level_max;
  if (!within(high)) return 0;
  std::size_t low = 1;
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    if (within(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

Ranks RanksWithinError(Candidate& candidate, double error) {
  const std::size_t level = LevelWithin(candidate, error);
  if (level > 0) return candidate.factorizer->RanksOf(level);
  const Ranks most = candidate.factorizer->RanksOf(candidate.level_max);
  candidate.report.reason = "rank " + std::to_string(candidate.level_max) +
                            ", the largest that saves, loses " +
                            ToText(candidate.factorizer->ErrorOf(most)) + " of its output";
  return {0, 0};
}

Ranks RanksByRule(const Task& task, const Candidate& candidate) {
  const LayerFactorizer& factorizer = *candidate.factorizer;
  switch (task.config.rule) {
    case RankRule::kEnergy:
      return factorizer.EnergyRanks(task.config.energy);
    case RankRule::kVariational:
      return factorizer.VariationalRanks();
    default:
      return factorizer.RanksOf(std::min(task.config.rank, factorizer.level_max()));
  }
}

// Sets the ranks of each candidate's report, or the reason why it stays.
Result<> ChooseRanks(const Task& task, std::span<Candidate> candidates) {
  const bool budget = task.config.rule == RankRule::kBudget;
  const bool shared = budget && task.config.measure != LowRankMeasure::kError;
  std::vector<Ranks> ranks(candidates.size(), Ranks{0, 0});
  if (shared) {
    FL_TRY(ranks, ShareBudget(task, candidates));
  }
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    Candidate& candidate = candidates[i];
    if (!candidate.factorizer) continue;
    if (!shared) {
      ranks[i] =
          budget ? RanksWithinError(candidate, task.config.budget) : RanksByRule(task, candidate);
    }
    LowRankLayer& report = candidate.report;
    if (ranks[i].in == 0) {
      if (report.reason.empty()) report.reason = "the budget lets it stay whole";
      continue;
    }
    const std::size_t after = ParametersOf(candidate.factorizer->ShapesOf(ranks[i]));
    if (after >= report.parameters_before) {
      report.reason = "rank " + std::to_string(std::max(ranks[i].in, ranks[i].out)) + " has " +
                      std::to_string(after) + " parameters, the layer itself " +
                      std::to_string(report.parameters_before);
      continue;
    }
    report.ranks = ranks[i];
  }
  return {};
}

// The factors' tensors by name.
void AddTensors(const Task& task, const nn::Node& node, const Factorization& factorization,
                std::map<std::string, std::vector<float>>& fresh) {
  for (std::size_t i = 0; i < factorization.factors.size(); ++i) {
    const Factor& factor = factorization.factors[i];
    const std::string name = node.name + "_" + static_cast<char>('a' + i);
    fresh[name + ".weight"] = factor.weight;
    fresh[name + ".bias"] = std::vector<float>(factor.outputs, 0.0F);
    if (i + 1 < factorization.factors.size()) continue;
    const std::size_t offset = task.graph.parameters.offset(node.parameters[1]);
    for (std::size_t k = 0; k < factor.outputs; ++k)
      fresh[name + ".bias"][k] = task.parameters[offset + k] + factorization.bias_shift[k];
  }
}

// Fresh weights for the tensors that the graph did not have.
void DrawAgain(const Task& task, const nn::Graph& graph,
               std::map<std::string, std::vector<float>>& fresh) {
  const NamedTensors drawn = nn::InitializeParameters(graph, task.rng.Child("low_rank_start"));
  for (std::size_t i = 0; i < graph.parameters.size(); ++i) {
    const auto found = fresh.find(graph.parameters[i].name);
    if (found == fresh.end()) continue;
    const auto values = drawn.tensor(i);
    found->second.assign(values.begin(), values.end());
  }
}

Result<> CheckSizes(const Task& task) {
  FL_TRY_OK(task.config.Validate());
  FL_TRY_OK(nn::ExpectPlain(task.graph, "low_rank"));
  if (task.parameters.size() != task.graph.parameters.total() ||
      task.samples.size() != task.count * task.graph.input_shape().count()) {
    return Invalid("expected " + std::to_string(task.graph.parameters.total()) +
                   " parameters and samples of " +
                   std::to_string(task.graph.input_shape().count()) + " values, found " +
                   std::to_string(task.parameters.size()) + " and " +
                   std::to_string(task.samples.size()) + " in " + std::to_string(task.count));
  }
  return {};
}

}  // namespace

Result<> LowRankConfig::Validate() const {
  if (rule == RankRule::kFixed && rank == 0) return Invalid("rank: expected at least 1, found 0");
  if (!(energy > 0 && energy <= 1))
    return Invalid("energy: expected a share in (0, 1], found " + ToText(energy));
  if (!(budget > 0 && budget < 1))
    return Invalid("budget: expected a share in (0, 1), found " + ToText(budget));
  return {};
}

Result<LowRankModel> FactorizeLayers(const nn::Graph& graph, std::span<const float> parameters,
                                     std::span<const float> samples, std::size_t count,
                                     const LowRankConfig& config, const RngStream& rng) {
  const Task task{graph, parameters, samples, count, config, rng};
  FL_TRY_OK(CheckSizes(task));
  FL_TRY(std::vector<Candidate> candidates, FindCandidates(task));
  FL_TRY_OK(ChooseRanks(task, candidates));
  GraphEditor editor(graph);
  std::map<std::string, std::vector<float>> fresh;
  LowRankModel model;
  for (Candidate& candidate : candidates) {
    LowRankLayer& report = candidate.report;
    if (report.ranks.in > 0) {
      const nn::Node& node = graph.nodes[candidate.node];
      const Factorization factorization = candidate.factorizer->Factorize(report.ranks);
      FL_TRY_OK(editor.Replace(node.name, LinesOf(node, factorization.factors)));
      AddTensors(task, node, factorization, fresh);
      report.error = factorization.error;
      report.parameters_after = ParametersOf(factorization.factors);
      report.macs_after = MacsOf(graph, node, factorization.factors);
    }
    model.layers.push_back(std::move(report));
  }
  FL_TRY(model.graph, editor.Build());
  if (config.random_start) DrawAgain(task, model.graph, fresh);
  FL_TRY(model.parameters, CarryTensors(graph, parameters, model.graph, {}, fresh));
  return model;
}

}  // namespace fl::deploy
