#include "fl/compression/deploy/quantization_training.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fl/common/nn/operator.h"
#include "fl/compression/deploy/fake_quantize.h"

namespace fl::deploy {
namespace {

constexpr std::size_t kRefitEvery = 20;
constexpr float kStepsFarthest = 16;

bool KeepsScale(const nn::Node& node) {
  const auto rule = nn::RulesOf(node.kind).quantize;
  return rule == nn::QuantizeRule::kCommutes || rule == nn::QuantizeRule::kClamp;
}

bool IsView(const nn::Node& node) {
  return node.kind == nn::OpKind::kFlatten || node.kind == nn::OpKind::kReshape;
}

Result<nn::WeightGrid> FitGrid(const nn::Graph& graph, std::size_t node,
                               std::span<const float> parameters, const nn::WeightSpec& spec) {
  auto grid =
      nn::FitWeightGrid(nn::WeightOf(graph, graph.nodes[node], parameters), spec, nn::ClipOf(spec));
  if (!grid) return grid.error().At("node " + graph.nodes[node].name);
  return grid;
}

float StepOf(const nn::WeightGrid& grid, std::size_t at) {
  return grid.scale[at / grid.groups] * static_cast<float>(grid.multiplier[at]);
}

// The steps that a grid has of its own: one by tensor, else those of its channels or groups.
std::vector<float> StepsOf(const nn::WeightGrid& grid) {
  if (grid.spec.scaling == nn::WeightScaling::kTensor) return {grid.scale[0]};
  std::vector<float> steps(grid.multiplier.size());
  for (std::size_t i = 0; i < steps.size(); ++i) steps[i] = StepOf(grid, i);
  return steps;
}

std::size_t StepIndex(const nn::WeightGrid& grid, std::size_t group) {
  return grid.spec.scaling == nn::WeightScaling::kTensor ? 0 : group;
}

// g of learned step size.
double FactorOf(std::size_t values, std::int32_t codes) {
  return 1 / std::sqrt(static_cast<double>(values) * static_cast<double>(codes));
}

double FactorOf(const nn::WeightGrid& grid) {
  const std::size_t count = grid.depth * grid.channels() / StepsOf(grid).size();
  return FactorOf(std::max<std::size_t>(1, count), grid.code_max());
}

// The grid nearest to steps: in groups a step is a whole multiple of its channel's scale.
void PutSteps(std::span<const float> steps, nn::WeightGrid& grid) {
  if (grid.spec.scaling != nn::WeightScaling::kGroup) {
    for (std::size_t c = 0; c < grid.channels(); ++c) grid.scale[c] = steps[StepIndex(grid, c)];
    return;
  }
  constexpr std::int32_t kEngineMax = 127;
  const std::int32_t multiplier_max = kEngineMax / grid.code_max();
  const auto most = static_cast<float>(multiplier_max);
  for (std::size_t c = 0; c < grid.channels(); ++c) {
    const auto channel = steps.subspan(c * grid.groups, grid.groups);
    grid.scale[c] = *std::ranges::max_element(channel) / most;
    for (std::size_t g = 0; g < grid.groups; ++g) {
      const float multiplier = std::nearbyint(channel[g] / grid.scale[c]);
      grid.multiplier[c * grid.groups + g] =
          static_cast<std::uint8_t>(std::clamp(multiplier, 1.0F, most));
    }
  }
}

// One value's part of the rule in the header: changes the gradient with respect to the rounded
// value into that of the value, and returns that of the step, without g.
struct Bounds {
  float least;
  float most;
};
double PassThrough(float unit, float rounded_unit, const Bounds& bounds, float& gradient) {
  constexpr float kRounding = 1e-3F;  // Of the unit: a grid's own extremes are not cut off.
  const float from = gradient;
  if (unit >= bounds.least - kRounding && unit <= bounds.most + kRounding)
    return static_cast<double>(from * (rounded_unit - unit));
  gradient = 0;
  return static_cast<double>(from * (unit < bounds.least ? bounds.least : bounds.most));
}

// Of a whole weight; the steps' gradients are added to `step_gradient`.
void PassThroughWeight(const nn::WeightGrid& grid, std::span<const float> latent,
                       std::span<const float> used, std::span<float> gradient,
                       std::span<double> step_gradient) {
  const std::size_t channels = grid.channels();
  for (std::size_t k = 0; k < grid.depth; ++k) {
    for (std::size_t c = 0; c < channels; ++c) {
      const std::size_t i = k * channels + c;
      const std::size_t at = grid.GroupOf(k, c);
      const float inverse = 1 / StepOf(grid, at);
      const auto zero = std::int32_t{grid.zero[at]};
      const Bounds bounds = {static_cast<float>(grid.code_min() - zero),
                             static_cast<float>(grid.code_max() - zero)};
      step_gradient[StepIndex(grid, at)] +=
          PassThrough(latent[i] * inverse, used[i] * inverse, bounds, gradient[i]);
    }
  }
}

double SquaredNorm(std::span<const double> gradient, double factor) {
  double sum = 0;
  for (const double value : gradient) sum += value * value;
  return sum * factor * factor;
}

}  // namespace

QuantizationTraining::LearnedSteps::LearnedSteps(std::vector<float> values, double g)
    : value(std::move(values)),
      start(value),
      gradient(value.size()),
      velocity(value.size()),
      factor(g) {}

void QuantizationTraining::LearnedSteps::Move(double rate, double momentum, double shrink) {
  for (std::size_t i = 0; i < value.size(); ++i) {
    velocity[i] = momentum * velocity[i] + gradient[i] * factor * shrink;
    value[i] = std::clamp(static_cast<float>(static_cast<double>(value[i]) - rate * velocity[i]),
                          start[i] / kStepsFarthest, start[i] * kStepsFarthest);
    gradient[i] = 0;
  }
}

Result<QuantizationTraining> QuantizationTraining::Create(
    const nn::Graph& graph, std::span<const float> parameters,
    std::vector<nn::ActivationRange> ranges, std::span<const nn::WeightSpec> specs,
    const QuantizationTrainingConfig& config) {
  if (specs.size() != graph.nodes.size() || parameters.size() != graph.parameters.total()) {
    return Error{ErrorCode::kInvalidArgument,
                 "expected the graph's parameters and a spec for each node"};
  }
  QuantizationTraining training(graph, std::move(ranges), config);
  FL_TRY(training.scales_, nn::ScalesOf(graph, training.first_ranges_));
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const nn::Node& node = graph.nodes[i];
    training.sources_.push_back(KeepsScale(node) ? training.sources_[node.inputs[0]] : i);
    if (!nn::HasWeight(node)) continue;
    FL_TRY(nn::WeightGrid grid, FitGrid(graph, i, parameters, specs[i]));
    LearnedSteps steps(StepsOf(grid), FactorOf(grid));
    training.layers_.push_back({.node = i,
                                .offset = graph.parameters.offset(node.parameters[0]),
                                .count = grid.depth * grid.channels(),
                                .grid = grid,
                                .first = grid,
                                .steps = std::move(steps)});
  }
  training.before_.resize(graph.nodes.size());
  return training;
}

nn::WeightGrids QuantizationTraining::Grids() const {
  nn::WeightGrids grids;
  for (const WeightLayer& layer : layers_) grids.emplace(graph_.nodes[layer.node].name, layer.grid);
  return grids;
}

void QuantizationTraining::Begin() {
  ranges_ = first_ranges_;
  activation_steps_.clear();
  TakeScales();
  for (WeightLayer& layer : layers_) {
    layer.grid = layer.first;
    layer.steps = LearnedSteps(StepsOf(layer.grid), FactorOf(layer.grid));
  }
}

bool QuantizationTraining::Observes(const FineTuneStep& step) const {
  return static_cast<double>(step.step) < config_.observe * static_cast<double>(step.steps);
}

void QuantizationTraining::Observe(std::size_t node, std::span<const float> values) {
  const auto [low, high] = std::ranges::minmax(values);
  const auto mix = [this](float& at, float seen) {
    at = static_cast<float>((1 - config_.moving_share) * static_cast<double>(at) +
                            config_.moving_share * static_cast<double>(seen));
  };
  mix(ranges_[node].low, std::min(low, 0.0F));
  mix(ranges_[node].high, std::max(high, 0.0F));
}

// Ranges that are not finite belong to an attempt that has failed: the scales stay.
void QuantizationTraining::TakeScales() {
  for (std::size_t i = 1; i < ranges_.size(); ++i) {
    if (IsView(graph_.nodes[i])) ranges_[i] = ranges_[graph_.nodes[i].inputs[0]];
  }
  if (auto scales = nn::ScalesOf(graph_, ranges_)) scales_ = *std::move(scales);
}

void QuantizationTraining::Feed(const FineTuneStep& step, std::span<float> inputs) {
  observing_ = Observes(step);
  if (observing_) {
    Observe(0, inputs);
    TakeScales();
  } else if (activation_steps_.empty()) {
    for (std::size_t i = 0; i < scales_.size(); ++i) {
      activation_steps_.emplace_back(std::vector<float>{scales_[i].scale},
                                     FactorOf(graph_.nodes[i].shape.count(), 255));
    }
  }
  RoundToScale(scales_[0], inputs);
  inputs_.assign(inputs.begin(), inputs.end());
}

void QuantizationTraining::Refit(std::span<const float> parameters) {
  for (WeightLayer& layer : layers_) {
    if (auto grid = FitGrid(graph_, layer.node, parameters, layer.grid.spec))
      layer.grid = *std::move(grid);
  }
}

void QuantizationTraining::Transform(const FineTuneStep& step, std::span<float> used) {
  latent_.assign(used.begin(), used.end());
  if (!config_.learned && observing_ && step.step % kRefitEvery == 0) Refit(used);
  for (const WeightLayer& layer : layers_) {
    const auto weight = used.subspan(layer.offset, layer.count);
    nn::RoundToGrid(layer.grid, weight, weight);
    RoundBias(layer, used);
  }
  RunEngine(step);
}

// Parameters that are not finite belong to an attempt that has failed, without an engine.
void QuantizationTraining::RunEngine(const FineTuneStep& step) {
  engine_.reset();
  const auto model = nn::Quantize(graph_, latent_, scales_, {}, Grids());
  if (!model) return;
  auto engine = EngineValues::Create(*model, step.batch.count);
  if (!engine) return;
  engine_ = *std::move(engine);
  engine_->Run(std::span(inputs_).first(step.batch.count * graph_.input_shape().count()),
               step.batch.count);
}

// To whole units of an accumulator, as the engine has it.
void QuantizationTraining::RoundBias(const WeightLayer& layer, std::span<float> used) const {
  const nn::Node& node = graph_.nodes[layer.node];
  const std::size_t at = graph_.parameters.offset(node.parameters[1]);
  const float input_scale = scales_[node.inputs[0]].scale;
  for (std::size_t c = 0; c < layer.grid.channels(); ++c) {
    const float scale = layer.grid.scale[c];
    const double unit = static_cast<double>(input_scale) * static_cast<double>(scale);
    float& bias = used[at + c];
    const auto units = static_cast<float>(std::nearbyint(static_cast<double>(bias) / unit));
    bias = input_scale * scale * units;
  }
}

void QuantizationTraining::OnForward(std::size_t node, std::span<float> output) {
  if (observing_) Observe(node, output);
  if (RoundsOutput(graph_, node)) before_[node].assign(output.begin(), output.end());
  if (engine_) engine_->Put(node, output);
}

double QuantizationTraining::OnBackward(std::size_t node, std::span<const float> output,
                                        std::span<float> gradient) {
  if (!RoundsOutput(graph_, node)) return 0;
  const nn::ActivationScale& scale = scales_[node];
  const float inverse = 1 / scale.scale;
  const Bounds bounds = {static_cast<float>(-128 - scale.zero_point),
                         static_cast<float>(127 - scale.zero_point)};
  double sum = 0;
  for (std::size_t i = 0; i < gradient.size(); ++i)
    sum += PassThrough(before_[node][i] * inverse, output[i] * inverse, bounds, gradient[i]);
  if (!activation_steps_.empty()) activation_steps_[sources_[node]].gradient[0] += sum;
  return 0;
}

double QuantizationTraining::Adjust(const FineTuneStep& /*step*/, std::span<const float> used,
                                    std::span<const float> /*outputs*/, std::span<float> gradient) {
  for (WeightLayer& layer : layers_) {
    PassThroughWeight(layer.grid, std::span(latent_).subspan(layer.offset, layer.count),
                      used.subspan(layer.offset, layer.count),
                      gradient.subspan(layer.offset, layer.count), layer.steps.gradient);
  }
  return 0;
}

void QuantizationTraining::MoveSteps(double rate) {
  double squares = 0;
  for (const WeightLayer& layer : layers_)
    squares += SquaredNorm(layer.steps.gradient, layer.steps.factor);
  for (const LearnedSteps& steps : activation_steps_)
    squares += SquaredNorm(steps.gradient, steps.factor);
  const double shrink =
      squares > config_.clip * config_.clip ? config_.clip / std::sqrt(squares) : 1;
  for (WeightLayer& layer : layers_) {
    layer.steps.Move(rate, config_.momentum, shrink);
    PutSteps(layer.steps.value, layer.grid);
  }
  for (std::size_t i = 0; i < activation_steps_.size(); ++i) {
    activation_steps_[i].Move(rate, config_.momentum, shrink);
    scales_[i].scale = activation_steps_[sources_[i]].value[0];
  }
}

void QuantizationTraining::Stepped(const FineTuneStep& step, std::span<float> /*parameters*/) {
  if (!config_.learned) return;
  const double warm =
      config_.warmup == 0
          ? 1
          : std::min(1.0, static_cast<double>(step.step + 1) / static_cast<double>(config_.warmup));
  MoveSteps(step.learning_rate * warm);
}

}  // namespace fl::deploy
