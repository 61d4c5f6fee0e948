#include "fl/compression/deploy/importance.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <string>

#include "fl/common/nn/gradient.h"
#include "fl/compression/deploy/rewrite_graph.h"

namespace fl::deploy {
namespace {

// Values of the tensor `position` of the node, of a flat vector in the layout's order.
template <typename T>
std::span<T> TensorOf(const nn::Graph& graph, std::span<T> values, const nn::Node& node,
                      std::size_t position) {
  const std::size_t tensor = node.parameters[position];
  return values.subspan(graph.parameters.offset(tensor), graph.parameters[tensor].shape.count());
}

using GradientVisitor = std::function<void(std::span<const float> gradient)>;

// Shows the gradient of each minibatch, in the order of the stream's draw.
Result<> ForEachGradient(const nn::Graph& graph, std::span<const float> parameters,
                         const ImportanceConfig& config, const ImportanceInputs& inputs,
                         const GradientVisitor& visit) {
  FL_TRY_OK(CheckSamples(graph, inputs.samples));
  const std::size_t batch = std::min<std::size_t>(config.batch, inputs.samples.count());
  const std::size_t batches = std::min<std::size_t>(config.batches, inputs.samples.count() / batch);
  std::vector<std::uint32_t> order(inputs.samples.count());
  std::iota(order.begin(), order.end(), 0U);
  RngStream rng = inputs.rng.Child("minibatches");
  rng.Shuffle(std::span(order));
  FL_TRY(nn::TrainingStep step, nn::TrainingStep::Create(graph, batch));
  std::vector<float> values(batch * graph.input_shape().count());
  std::vector<float> gradient(parameters.size());
  const bool classes = graph.loss == nn::LossKind::kSoftmaxCrossEntropy;
  for (std::size_t i = 0; i < batches; ++i) {
    const auto positions = std::span(order).subspan(i * batch, batch);
    inputs.samples.CopySamples(positions, values);
    std::vector<std::int32_t> labels;
    std::vector<float> targets;
    for (const std::uint32_t position : positions) {
      if (classes) {
        labels.push_back(inputs.samples.label(position));
      } else {
        targets.push_back(inputs.samples.target(position));
      }
    }
    nn::TrainingBatch minibatch;
    minibatch.count = batch;
    minibatch.input = values;
    minibatch.labels = labels;
    minibatch.targets = targets;
    minibatch.running_statistics = true;
    step.Compute(parameters, minibatch, gradient);
    if (!AllFinite(gradient)) {
      return Error{ErrorCode::kNotFinite,
                   "expected finite gradients, found others: are the samples finite?"};
    }
    visit(gradient);
  }
  return {};
}

// What a minibatch says about one weight, for kGradient, kSnip and (before the square) kTaylor.
double Term(Criterion criterion, double weight, double gradient) {
  switch (criterion) {
    case Criterion::kGradient:
      return std::abs(gradient);
    case Criterion::kSnip:
      return std::abs(weight * gradient);
    default:
      return weight * gradient;
  }
}

double Squared(Criterion criterion, double sum) {
  return criterion == Criterion::kTaylor ? sum * sum : sum;
}

// One score for each output channel of a node.
using ChannelScores = std::map<std::size_t, std::vector<double>>;

void AddGradient(const nn::Graph& graph, std::span<const float> parameters,
                 std::span<const float> gradient, Criterion criterion, ChannelScores& scores) {
  for (auto& [index, channels] : scores) {
    const nn::Node& node = graph.nodes[index];
    std::vector<double> sums(channels.size(), 0.0);
    for (std::size_t position = 0; position < node.parameters.size(); ++position) {
      const auto weights = TensorOf(graph, parameters, node, position);
      const auto slopes = TensorOf(graph, gradient, node, position);
      for (std::size_t i = 0; i < weights.size(); ++i)
        sums[i % sums.size()] += Term(criterion, weights[i], slopes[i]);
    }
    for (std::size_t c = 0; c < sums.size(); ++c) channels[c] += Squared(criterion, sums[c]);
  }
}

std::vector<double> DistancesToOthers(std::span<const float> weights, std::size_t channels) {
  std::vector<double> squares(channels * channels, 0.0);
  for (std::size_t row = 0; row < weights.size(); row += channels) {
    for (std::size_t i = 0; i < channels; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        const double difference = weights[row + i] - weights[row + j];
        squares[i * channels + j] += difference * difference;
      }
    }
  }
  std::vector<double> sums(channels, 0.0);
  for (std::size_t i = 0; i < channels; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const double distance = std::sqrt(squares[i * channels + j]);
      sums[i] += distance;
      sums[j] += distance;
    }
  }
  return sums;
}

std::vector<double> Magnitudes(std::span<const float> weights, std::size_t channels,
                               Criterion criterion) {
  std::vector<double> sums(channels, 0.0);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double weight = weights[i];
    sums[i % channels] += criterion == Criterion::kL1 ? std::abs(weight) : weight * weight;
  }
  if (criterion == Criterion::kL2) {
    for (double& sum : sums) sum = std::sqrt(sum);
  }
  return sums;
}

// The node's weight with a batch norm that alone reads it folded in: what the channels say does not
// depend on how large the weight before a norm is.
std::vector<float> FoldedWeight(const nn::Graph& graph, std::span<const float> parameters,
                                std::size_t index) {
  const auto weight = TensorOf(graph, parameters, graph.nodes[index], 0);
  std::vector<float> folded(weight.begin(), weight.end());
  const std::optional<std::size_t> reader = OnlyReader(graph, index);
  if (!reader || graph.nodes[*reader].kind != nn::OpKind::kBatchNorm) return folded;
  const auto gamma = TensorOf(graph, parameters, graph.nodes[*reader], 0);
  const auto variance = TensorOf(graph, parameters, graph.nodes[*reader], 3);
  for (std::size_t i = 0; i < folded.size(); ++i) {
    const std::size_t c = i % gamma.size();
    folded[i] *= gamma[c] / std::sqrt(std::max(variance[c], 0.0F) + nn::kNormEpsilon);
  }
  return folded;
}

void DivideByMean(std::vector<double>& values) {
  const double mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  if (mean <= 0) return;
  for (double& value : values) value /= mean;
}

// Scores of the owners' channels by their weights or gradients.
Result<> FillScores(const nn::Graph& graph, std::span<const float> parameters,
                    const ImportanceConfig& config, const ImportanceInputs& inputs,
                    ChannelScores& scores) {
  if (NeedsGradient(config.criterion)) {
    FL_TRY_OK(
        ForEachGradient(graph, parameters, config, inputs, [&](std::span<const float> gradient) {
          AddGradient(graph, parameters, gradient, config.criterion, scores);
        }));
  } else {
    for (auto& [index, channels] : scores) {
      const std::vector<float> weights = FoldedWeight(graph, parameters, index);
      channels = config.criterion == Criterion::kGeometricMedian
                     ? DistancesToOthers(weights, channels.size())
                     : Magnitudes(weights, channels.size(), config.criterion);
    }
  }
  for (auto& [index, channels] : scores) DivideByMean(channels);
  return {};
}

Result<> FillOwn(const nn::Graph& graph, const OwnScores& own, ChannelScores& scores) {
  for (const auto& [name, values] : own) {
    FL_TRY(const std::size_t index, FindNode(graph, name));
    const auto channels = scores.find(index);
    if (channels == scores.end()) continue;
    if (values.size() != channels->second.size()) {
      return Error{ErrorCode::kShapeMismatch,
                   "expected " + std::to_string(channels->second.size()) + " scores of " + name +
                       ", found " + std::to_string(values.size())};
    }
    channels->second = values;
  }
  for (const auto& [index, channels] : scores) {
    const std::string& name = graph.nodes[index].name;
    if (!own.contains(name))
      return Error{ErrorCode::kInvalidArgument, "expected scores of " + name + ", found none"};
  }
  return {};
}

// The batch norms behind each unit; scores by node are those of the norms.
Result<> FillGammas(const nn::Graph& graph, std::span<const float> parameters,
                    const ChannelGroups& groups, std::span<const std::uint8_t> eligible,
                    ChannelScores& scores) {
  scores.clear();
  std::vector<std::uint8_t> seen(groups.unit_count, 0);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const nn::Node& node = graph.nodes[i];
    if (node.kind != nn::OpKind::kBatchNorm) continue;
    for (const float gamma : TensorOf(graph, parameters, node, 0))
      scores[i].push_back(std::abs(gamma));
    for (const std::uint32_t unit : groups.units[i]) seen[unit] = 1;
  }
  for (std::size_t i = 0; i < groups.groups.size(); ++i) {
    if (eligible[i] == 0 || seen[groups.groups[i].units[0]] != 0) continue;
    return Error{ErrorCode::kInvalidArgument,
                 "expected a batch norm behind " + graph.nodes[groups.groups[i].owners[0]].name +
                     ", found none (fold_bn removes them: prune before it)"};
  }
  return {};
}

// Each unit's mean over its channels in the scored nodes.
std::vector<double> MeanByUnit(const ChannelGroups& groups, const ChannelScores& scores) {
  std::vector<double> sums(groups.unit_count, 0.0);
  std::vector<double> counts(groups.unit_count, 0.0);
  for (const auto& [index, channels] : scores) {
    for (std::size_t c = 0; c < channels.size(); ++c) {
      sums[groups.units[index][c]] += channels[c];
      counts[groups.units[index][c]] += 1;
    }
  }
  for (std::size_t unit = 0; unit < sums.size(); ++unit)
    sums[unit] = counts[unit] > 0 ? sums[unit] / counts[unit] : 0;
  return sums;
}

Result<> CheckFinite(std::span<const float> parameters) {
  if (AllFinite(parameters)) return {};
  return Error{ErrorCode::kNotFinite, "expected finite parameters, found others"};
}

}  // namespace

Result<> CheckSamples(const nn::Graph& graph, const data::Subset& samples) {
  if (samples.empty()) {
    return Error{ErrorCode::kInvalidArgument, "expected samples to take a loss on, found none"};
  }
  const data::Dataset& dataset = samples.dataset();
  const bool classes = graph.loss == nn::LossKind::kSoftmaxCrossEntropy;
  const std::size_t outputs = graph.output_shape().count();
  if (dataset.features() != graph.input_shape().count() ||
      (classes ? dataset.classes() != outputs : dataset.classes() != 0 || outputs != 1)) {
    return Error{ErrorCode::kShapeMismatch,
                 "expected samples of " + graph.input_shape().ToText() + " for " +
                     std::to_string(outputs) + " outputs, found " + dataset.shape().ToText() +
                     " and " + std::to_string(dataset.classes()) + " classes"};
  }
  return {};
}

bool NeedsGradient(Criterion criterion) {
  return criterion == Criterion::kGradient || criterion == Criterion::kTaylor ||
         criterion == Criterion::kSnip;
}

Result<std::vector<double>> ScoreUnits(const nn::Graph& graph, std::span<const float> parameters,
                                       const ChannelGroups& groups,
                                       std::span<const std::uint8_t> eligible,
                                       const ImportanceConfig& config,
                                       const ImportanceInputs& inputs) {
  FL_TRY_OK(CheckFinite(parameters));
  if (config.criterion == Criterion::kRandom) {
    std::vector<double> scores(groups.unit_count);
    RngStream rng = inputs.rng.Child("scores");
    for (double& score : scores) score = rng.UniformDouble();
    return scores;
  }
  ChannelScores scores;
  for (std::size_t i = 0; i < groups.groups.size(); ++i) {
    if (eligible[i] == 0) continue;
    for (const std::size_t owner : groups.groups[i].owners)
      scores[owner].assign(groups.units[owner].size(), 0.0);
  }
  if (config.criterion == Criterion::kOwn) {
    FL_TRY_OK(FillOwn(graph, config.scores, scores));
  } else if (config.criterion == Criterion::kBatchNormGamma) {
    FL_TRY_OK(FillGammas(graph, parameters, groups, eligible, scores));
  } else {
    FL_TRY_OK(FillScores(graph, parameters, config, inputs, scores));
  }
  return MeanByUnit(groups, scores);
}

Result<std::vector<double>> ScoreWeights(const nn::Graph& graph, std::span<const float> parameters,
                                         std::span<const std::size_t> nodes,
                                         const ImportanceConfig& config,
                                         const ImportanceInputs& inputs) {
  FL_TRY_OK(CheckFinite(parameters));
  const Criterion criterion = config.criterion;
  if (criterion == Criterion::kGeometricMedian || criterion == Criterion::kBatchNormGamma) {
    return Error{ErrorCode::kInvalidArgument,
                 "expected a criterion for single weights, found " +
                     std::string(kCriterionNames[static_cast<std::size_t>(criterion)]) +
                     ", which is one for channels"};
  }
  std::vector<double> scores(parameters.size(), 0.0);
  if (NeedsGradient(criterion)) {
    FL_TRY_OK(
        ForEachGradient(graph, parameters, config, inputs, [&](std::span<const float> gradient) {
          for (std::size_t i = 0; i < scores.size(); ++i)
            scores[i] += Squared(criterion, Term(criterion, parameters[i], gradient[i]));
        }));
  }
  std::vector<double> chosen(parameters.size(), 0.0);
  for (const std::size_t index : nodes) {
    const nn::Node& node = graph.nodes[index];
    const std::span<double> out = TensorOf(graph, std::span(chosen), node, 0);
    const auto weights = TensorOf(graph, parameters, node, 0);
    RngStream rng = inputs.rng.Child("scores", node.name);
    const auto own = config.scores.find(node.name);
    if (criterion == Criterion::kOwn &&
        (own == config.scores.end() || own->second.size() != out.size())) {
      return Error{ErrorCode::kShapeMismatch, "expected " + std::to_string(out.size()) +
                                                  " scores of " + node.name + ", one a weight"};
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (criterion == Criterion::kOwn) {
        out[i] = own->second[i];
      } else if (criterion == Criterion::kRandom) {
        out[i] = rng.UniformDouble();
      } else if (NeedsGradient(criterion)) {
        out[i] = TensorOf(graph, std::span(scores), node, 0)[i];
      } else {
        out[i] = std::abs(weights[i]);  // L1 and L2 are one for a single weight.
      }
    }
  }
  return chosen;
}

}  // namespace fl::deploy
