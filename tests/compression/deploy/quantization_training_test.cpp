#include "fl/compression/deploy/quantization_training.h"

#include <cmath>
#include <limits>
#include <set>

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/gradient.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/operator.h"
#include "fl/compression/deploy/fake_quantize.h"
#include "fl/tests/common/nn/random_graph.h"
#include "fl/tests/common/nn/small_models.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;

nn::Graph Build(const Shape& input, const std::vector<std::string>& lines) {
  return Get(nn::BuildGraph(input, lines, "mean_squared_error"));
}

FineTuneStep StepAt(std::size_t step, std::size_t steps, const nn::TrainingBatch& batch) {
  return {step, steps, 0.1, batch};
}

TEST_CASE("RoundToScale: half to even, cut at the outermost codes") {
  std::vector<float> values = {0.25F, 0.75F, -0.25F, 1000, -1000, 0};
  RoundToScale({0.5F, -28}, values);
  CHECK(values == std::vector<float>{0, 1, 0, 77.5F, -50, 0});
}

TEST_CASE("QuantizationTraining: the gradients of weights and of their step are the paper's") {
  // One output of eight inputs at 2 bits by channel: the grid is fitted to the many, 0.9 lies
  // beyond.
  const nn::Graph graph = Build(Shape{8}, {"dense 1"});
  const std::vector<float> parameters = {0.9F, 0.5F, 0.5F, -0.5F, 0.5F, -0.5F, 0.2F, 0.45F, 0};
  std::vector<nn::WeightSpec> specs(2);
  specs[1].bits = 2;
  QuantizationTrainingConfig config;
  config.momentum = 0;
  config.clip = 1e6;
  config.warmup = 0;
  auto training =
      Get(QuantizationTraining::Create(graph, parameters, {{-1, 1}, {-1, 1}}, specs, config));
  training.Begin();
  const double before = double{training.Grids().at("dense1").scale[0]};
  const nn::TrainingBatch batch;
  std::vector<float> used = parameters;
  training.Transform(StepAt(0, 10, batch), used);
  const std::vector<float> upstream = {2, 3, -1, 1, 0.5F, -2, 4, 1, 0};
  std::vector<float> gradient = upstream;
  training.Adjust(StepAt(0, 10, batch), used, {}, gradient);
  training.Stepped(StepAt(0, 10, batch), used);
  const double after = double{training.Grids().at("dense1").scale[0]};
  double expected = 0;
  std::size_t cut = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    const double unit = double{parameters[i]} / before;
    const bool inside = std::abs(unit) <= 1;
    cut += inside ? 0 : 1;
    expected +=
        double{upstream[i]} * (inside ? std::nearbyint(unit) - unit : std::copysign(1.0, unit));
    CHECK(gradient[i] == (inside ? upstream[i] : 0));
  }
  CHECK(cut > 0);
  CHECK(cut < 8);
  // N = 8 weights share the step, Q = 1.
  CHECK(before - after == doctest::Approx(0.1 * expected / std::sqrt(8.0)).epsilon(1e-4));
}

TEST_CASE("QuantizationTraining: ranges follow for the set share of the steps, then stay") {
  const nn::Graph graph = Build(Shape{2}, {"dense 2", "relu", "dense 2"});
  const std::vector<float> parameters = nn::InitializeParameters(graph, RngStream(1)).values;
  QuantizationTrainingConfig config;
  config.observe = 0.5;
  config.moving_share = 0.5;
  config.learned = false;
  auto training = Get(QuantizationTraining::Create(graph, parameters,
                                                   std::vector<nn::ActivationRange>(4, {-1, 1}),
                                                   std::vector<nn::WeightSpec>(4), config));
  training.Begin();
  const nn::TrainingBatch batch;
  std::vector<float> scales;
  for (std::size_t i = 0; i < 4; ++i) {
    std::vector<float> inputs = {3, -1};
    training.Feed(StepAt(i, 4, batch), inputs);
    scales.push_back(training.scales()[0].scale);
  }
  CHECK(scales[0] == doctest::Approx(3.0 / 255));  // [-1, 2]: half way from [-1, 1] to [-1, 3].
  CHECK(scales[1] == doctest::Approx(3.5 / 255));
  CHECK(scales[2] == scales[1]);
  CHECK(scales[3] == scales[1]);
}

TEST_CASE("QuantizationTraining: in groups a step is a whole multiple of its channel's scale") {
  const nn::Graph graph = Build(Shape{8}, {"dense 2"});
  const std::vector<float> parameters = nn::InitializeParameters(graph, RngStream(1)).values;
  std::vector<nn::WeightSpec> specs(2);
  specs[1] = {.bits = 2, .scaling = nn::WeightScaling::kGroup, .group = 4};
  auto training = Get(QuantizationTraining::Create(graph, parameters, {{-1, 1}, {-1, 1}}, specs,
                                                   QuantizationTrainingConfig{}));
  training.Begin();
  const nn::TrainingBatch batch;
  for (std::size_t i = 0; i < 5; ++i) {
    std::vector<float> used = parameters;
    training.Transform(StepAt(i, 5, batch), used);
    std::vector<float> gradient(parameters.size(), 0.5F);
    training.Adjust(StepAt(i, 5, batch), used, {}, gradient);
    training.Stepped(StepAt(i, 5, batch), used);
  }
  const nn::WeightGrid grid = training.Grids().at("dense1");
  CHECK(grid.groups == 2);
  const auto model =
      Get(nn::Quantize(graph, parameters, training.scales(), specs, training.Grids()));
  CHECK(model.nodes[1].multiplier == grid.multiplier);
  std::vector<float> used = parameters;
  training.Transform(StepAt(4, 5, batch), used);
  const NamedTensors deployed = nn::Dequantize(model);
  // What was computed with is what is deployed, to the last bit.
  for (std::size_t i = 0; i < used.size(); ++i) CHECK(deployed.values[i] == used[i]);
}

// A few steps of training towards all zeros; each has the engine's outputs, to the last bit.
void CheckStepsAgainstEngine(const nn::Graph& graph, std::uint64_t seed) {
  constexpr std::size_t kBatch = 16;
  constexpr std::size_t kSteps = 4;  // Two observe ranges, two learn them.
  const std::vector<float> samples =
      nn::testing::Normals(kSteps * kBatch * graph.input_shape().count(), seed);
  std::vector<float> parameters = nn::InitializeParameters(graph, RngStream(seed)).values;
  QuantizationTrainingConfig config;
  config.observe = 0.5;
  config.warmup = 0;
  std::vector<nn::WeightSpec> specs(graph.nodes.size());
  for (nn::WeightSpec& spec : specs) spec.bits = static_cast<std::uint8_t>(seed % 2 == 0 ? 8 : 4);
  auto training = Get(QuantizationTraining::Create(
      graph, parameters,
      Get(nn::ObserveRanges(graph, parameters, std::span(samples).first(samples.size() / kSteps),
                            kBatch, nn::RangeMethod::kMinMax)),
      specs, config));
  training.Begin();
  nn::TrainingStep step = Get(nn::TrainingStep::Create(graph, kBatch));
  const std::vector<float> targets(kBatch * graph.output_shape().count());
  std::vector<float> gradient(parameters.size());
  for (std::size_t s = 0; s < kSteps; ++s) {
    CAPTURE(s);
    const std::size_t size = samples.size() / kSteps;
    const auto raw = std::span(samples).subspan(s * size, size);
    std::vector<float> input(raw.begin(), raw.end());
    nn::TrainingBatch batch;
    batch.count = kBatch;
    batch.input = input;
    batch.targets = targets;
    batch.hook = training.inner();
    const FineTuneStep here = StepAt(s, kSteps, batch);
    training.Feed(here, input);
    std::vector<float> used = parameters;
    training.Transform(here, used);
    const auto model =
        Get(nn::Quantize(graph, parameters, training.scales(), {}, training.Grids()));
    step.Compute(used, batch, gradient);
    std::vector<float> expected(targets.size());
    Get(nn::IntegerSession::Create(model, kBatch)).Run(raw, kBatch, expected);
    CHECK(std::ranges::equal(step.outputs(), expected));
    training.Adjust(here, used, step.outputs(), gradient);
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i] -= 0.01F * gradient[i];
    training.Stepped(here, parameters);
  }
}

TEST_CASE("QuantizationTraining: every step computes with the engine's bits") {
  std::set<nn::OpKind> seen;
  for (std::uint64_t seed = 0; seed < 24; ++seed) {
    CAPTURE(seed);
    const nn::Graph graph = nn::testing::RandomGraph(seed).Make(3 + seed % 8);
    for (const nn::Node& node : graph.nodes) seen.insert(node.kind);
    CheckStepsAgainstEngine(graph, seed);
  }
  for (const nn::OpKind kind :
       {nn::OpKind::kDense, nn::OpKind::kConv2d, nn::OpKind::kDepthwise, nn::OpKind::kMaxPool,
        nn::OpKind::kAvgPool, nn::OpKind::kGlobalAvgPool, nn::OpKind::kAdd, nn::OpKind::kMultiply,
        nn::OpKind::kConcat, nn::OpKind::kSigmoid, nn::OpKind::kTanh, nn::OpKind::kHardSwish,
        nn::OpKind::kRelu6, nn::OpKind::kLayerNorm}) {
    CAPTURE(nn::RulesOf(kind).name);
    CHECK(seen.contains(kind));
  }
}

TEST_CASE("QuantizationTraining: what cannot be rounded is refused") {
  const nn::Graph graph = Build(Shape{3}, {"dense 1"});
  const std::vector<float> parameters(4, 0.5F);
  const auto create = [&](std::vector<float> values, nn::ActivationRange range,
                          const nn::WeightSpec& spec) {
    return QuantizationTraining::Create(graph, values, {{-1, 1}, range},
                                        std::vector<nn::WeightSpec>{{}, spec},
                                        QuantizationTrainingConfig{});
  };
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  CHECK(create(parameters, {-1, 1}, {}));
  CHECK(CodeOf(create({0.5F}, {-1, 1}, {})) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(create(parameters, {-1, kNan}, {})) == ErrorCode::kNotFinite);
  CHECK(CodeOf(create({kNan, 0, 0, 0}, {-1, 1}, {})) == ErrorCode::kNotFinite);
  CHECK(CodeOf(create(parameters, {-1, 1}, {.bits = 1})) == ErrorCode::kInvalidArgument);
}

TEST_CASE("CompareWithEngine: no samples are refused") {
  const nn::Graph graph = Build(Shape{3}, {"dense 2"});
  const std::vector<nn::ActivationRange> ranges(2, {-1, 1});
  const auto model = Get(nn::Quantize(graph, std::vector<float>(8, 0.5F), ranges));
  CHECK(CodeOf(CompareWithEngine(model, {}, 0)) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(CompareWithEngine(model, std::vector<float>(4), 1)) == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fl::deploy
