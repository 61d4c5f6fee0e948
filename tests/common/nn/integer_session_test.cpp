#include "fl/common/nn/integer_session.h"

#include <cmath>

#include <doctest/doctest.h>

#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/session.h"
#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Build;
using testing::Normals;

QuantizedModel QuantizedOf(const Graph& graph, std::span<const float> samples, std::size_t count,
                           RangeMethod method = RangeMethod::kMinMax) {
  const NamedTensors parameters = InitializeParameters(graph, RngStream(11));
  const auto ranges = Get(ObserveRanges(graph, parameters.values, samples, count, method));
  return Get(Quantize(graph, parameters.values, ranges));
}

const std::vector<std::vector<std::string>>& Networks() {
  static const std::vector<std::vector<std::string>> networks = {
      {"flatten", "dense 50", "relu", "dense 33", "relu", "dense 10"},
      {"conv 7 3x3 same", "relu", "maxpool 2", "conv 18 5x5 same", "relu",
       "maxpool 3 stride=2 same", "flatten", "dense 70", "relu", "dense 10"},
      {"conv 20 3x2 stride=2", "maxpool 2", "relu", "avgpool 2 stride=1 same",
       "conv 40 2x2 stride=2 same", "global_avgpool", "dense 10", "relu"}};
  return networks;
}

TEST_CASE("IntegerSession: every instruction set gives the same bits") {
  const Shape input{13, 12, 3};
  const std::vector<float> samples = Normals(21 * input.count(), 5);
  for (const std::vector<std::string>& layers : Networks()) {
    const Graph graph = Build(input, layers);
    const QuantizedModel model = QuantizedOf(graph, samples, 21);
    std::vector<float> expected(21 * 10);
    Get(IntegerSession::Create(model, 21, IntegerInstructionSet::kGeneric))
        .Run(samples, 21, expected);
    for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
      CAPTURE(InstructionSetName(set));
      std::vector<float> output(expected.size());
      IntegerSession session = Get(IntegerSession::Create(model, 21, set));
      session.Run(samples, 21, output);
      CHECK(output == expected);
      std::vector<float> alone(10);
      session.Run(std::span(samples).last(input.count()), 1, alone);
      CHECK(std::equal(alone.begin(), alone.end(), expected.end() - 10));
    }
  }
}

TEST_CASE("IntegerSession: extreme weights and activations do not saturate") {
  const Graph graph = Build({64}, {"dense 20"});
  QuantizedModel model{graph, {{1.0F, 127}, {1.0F, 0}}, std::vector<QuantizedNode>(2)};
  model.nodes[1].weight.assign(64 * 20, 127);
  for (std::size_t i = 0; i < 640; ++i) model.nodes[1].weight[i] = -127;
  model.nodes[1].weight_scale.assign(20, 1.0F);
  model.nodes[1].bias.assign(20, 7);
  const std::vector<float> input(64, -1000.0F);  // q = -128, so q - z = -255.
  for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
    std::vector<float> output(20);
    Get(IntegerSession::Create(model, 1, set)).Run(input, 1, output);
    CHECK(output[0] == 64.0F * 127 * 255 + 7);
    CHECK(output[19] == -64.0F * 127 * 255 + 7);
  }
}

TEST_CASE("IntegerSession: its outputs are near those of fp32") {
  const Shape input{13, 12, 3};
  const std::vector<float> samples = Normals(64 * input.count(), 5);
  for (const std::vector<std::string>& layers : Networks()) {
    const Graph graph = Build(input, layers);
    const QuantizedModel model = QuantizedOf(graph, samples, 64);
    std::vector<float> expected(640);
    std::vector<float> output(640);
    Get(Session::Create(graph, 64))
        .Run(InitializeParameters(graph, RngStream(11)).values, samples, 64, expected);
    Get(IntegerSession::Create(model, 64)).Run(samples, 64, output);
    double error = 0;
    double power = 0;
    for (std::size_t i = 0; i < output.size(); ++i) {
      error += std::pow(static_cast<double>(output[i]) - static_cast<double>(expected[i]), 2);
      power += std::pow(static_cast<double>(expected[i]), 2);
    }
    // Each of up to five roundings to 8 bits adds a relative error near 1 %; outputs vary little
    // around their bias.
    CHECK(std::sqrt(error / power) < 0.05);
  }
}

TEST_CASE("ObserveRanges: clipping by squared error stays within min-max and holds zero") {
  const Graph graph = Build({16}, {"dense 8", "relu", "dense 3"});
  const std::vector<float> samples = Normals(256 * 16, 5);
  const NamedTensors parameters = InitializeParameters(graph, RngStream(1));
  const auto full =
      Get(ObserveRanges(graph, parameters.values, samples, 256, RangeMethod::kMinMax));
  const auto clipped =
      Get(ObserveRanges(graph, parameters.values, samples, 256, RangeMethod::kSquaredError));
  REQUIRE(full.size() == 4);
  for (std::size_t i = 0; i < full.size(); ++i) {
    CHECK(clipped[i].low >= full[i].low);
    CHECK(clipped[i].high <= full[i].high);
    CHECK(clipped[i].low <= 0);
    CHECK(clipped[i].high >= 0);
  }
  CHECK(full[1].low == 0);
  CHECK(CodeOf(ObserveRanges(graph, parameters.values, samples, 255, RangeMethod::kMinMax)) ==
        ErrorCode::kInvalidArgument);
  CHECK(CodeOf(ObserveRanges(graph, parameters.values, {}, 0, RangeMethod::kMinMax)) ==
        ErrorCode::kInvalidArgument);
}

TEST_CASE("ScaleOf: zero is exact and the range's ends are the integers' ends") {
  const ActivationScale positive = ScaleOf({0.5F, 2.55F});
  CHECK(positive.zero_point == -128);
  CHECK(positive.scale == doctest::Approx(0.01));
  const ActivationScale both = ScaleOf({-1.0F, 1.0F});
  CHECK(std::abs(both.zero_point) <= 1);
  CHECK(ScaleOf({0, 0}).scale > 0);
}

TEST_CASE("Quantize: a bias survives in a channel without weights") {
  const Graph graph = Build({4}, {"dense 2"});
  NamedTensors parameters(graph.parameters);
  parameters.tensor(1)[0] = 3;
  const std::vector<ActivationRange> ranges = {{-1, 1}, {-4, 4}};
  const QuantizedModel model = Get(Quantize(graph, parameters.values, ranges));
  CHECK(Dequantize(model).tensor(1)[0] == doctest::Approx(3));
  parameters.values[0] = std::nanf("");
  CHECK(CodeOf(Quantize(graph, parameters.values, ranges)) == ErrorCode::kNotFinite);
  CHECK(CodeOf(Quantize(graph, {}, ranges)) == ErrorCode::kInvalidArgument);
}

TEST_CASE("QuantizedModel: each broken rule is malformed") {
  const Graph graph = Build({4}, {"dense 3", "relu", "dense 2"});
  const QuantizedModel good = QuantizedOf(graph, Normals(40, 1), 10);
  CHECK(good.Validate().has_value());
  QuantizedModel model = good;
  model.nodes[1].weight[0] = -128;
  CHECK(CodeOf(model.Validate()) == ErrorCode::kMalformed);
  model = good;
  model.activations[2].zero_point += 1;
  CHECK(CodeOf(model.Validate()) == ErrorCode::kMalformed);
  model = good;
  model.activations[0].scale = 0;
  CHECK(CodeOf(IntegerSession::Create(model, 1)) == ErrorCode::kMalformed);
  model = good;
  model.nodes[3].bias[0] = (1 << 30) + 1;
  CHECK(CodeOf(model.Validate()) == ErrorCode::kMalformed);
  model = good;
  model.nodes[1].weight.pop_back();
  CHECK(CodeOf(model.Validate()) == ErrorCode::kMalformed);
  model = good;
  model.activations.pop_back();
  CHECK(CodeOf(model.Validate()) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl::nn
