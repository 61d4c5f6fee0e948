#include "fl/common/nn/weight_coding.h"

#include <cmath>

#include <doctest/doctest.h>

#include "fl/common/nn/initialize.h"
#include "fl/common/nn/integer_session.h"
#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Build;
using testing::Normals;

// Mean squared error over the mean square.
double RelativeError(std::span<const float> weight, const CodedWeight& coded, std::size_t depth) {
  double error = 0;
  double power = 0;
  for (std::size_t i = 0; i < weight.size(); ++i) {
    const double value = static_cast<double>(coded.weight_scale[i / depth]) * coded.weight[i];
    error += std::pow(value - static_cast<double>(weight[i]), 2);
    power += std::pow(static_cast<double>(weight[i]), 2);
  }
  return error / power;
}

// Of a weight that has the output channel first.
CodedWeight Coded(std::span<const float> weight, std::span<const float> scale_min,
                  const WeightSpec& spec) {
  const std::size_t channels = scale_min.size();
  const std::size_t depth = weight.size() / channels;
  std::vector<float> values(weight.size());
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t k = 0; k < depth; ++k) values[k * channels + c] = weight[c * depth + k];
  }
  const WeightGrid grid = Get(FitWeightGrid({values, channels}, spec, ClipOf(spec), scale_min));
  return CodeOnGrid(grid, values, scale_min);
}

TEST_CASE("Weight coding: every spec gives a coding that holds its weights") {
  const std::size_t depth = 70;
  const std::vector<float> weight = Normals(5 * depth, 4);
  const std::vector<float> scale_min(5);
  for (std::uint8_t bits = 2; bits <= 8; ++bits) {
    for (const WeightScaling scaling :
         {WeightScaling::kTensor, WeightScaling::kChannel, WeightScaling::kGroup}) {
      for (const bool asymmetric : {false, true}) {
        const WeightSpec spec{bits, scaling, 32, asymmetric};
        if (!spec.Validate()) continue;
        CAPTURE(bits);
        CAPTURE(asymmetric);
        const CodedWeight coded = Coded(weight, scale_min, spec);
        CHECK(WhyNotCoded(coded, depth) == "");
        // Of a normal's squares, a step of 2 / 2^bits of three deviations costs less than this.
        CHECK(RelativeError(weight, coded, depth) < 6 * std::pow(4.0, -bits));
        if (scaling == WeightScaling::kTensor)
          CHECK(coded.weight_scale == std::vector<float>(5, coded.weight_scale[0]));
      }
    }
  }
}

TEST_CASE("Weight coding: groups lose less than channels, and channels less than the tensor") {
  std::vector<float> weight = Normals(8 * 128, 4);
  for (std::size_t i = 0; i < weight.size(); ++i) {
    const std::size_t factor = (1 + i / 128) * (1 + i % 128 / 32);
    weight[i] *= static_cast<float>(factor);
  }
  const std::vector<float> scale_min(8);
  const auto error = [&](WeightScaling scaling) {
    return RelativeError(weight, Coded(weight, scale_min, {4, scaling, 32, false}), 128);
  };
  CHECK(error(WeightScaling::kGroup) < 0.8 * error(WeightScaling::kChannel));
  CHECK(error(WeightScaling::kChannel) < 0.8 * error(WeightScaling::kTensor));
}

TEST_CASE("Weight coding: asymmetric codes lose less where weights lie on one side") {
  std::vector<float> weight = Normals(4 * 64, 4);
  for (float& value : weight) value = 1 + 0.1F * value;
  const std::vector<float> scale_min(4);
  const auto error = [&](bool asymmetric) {
    return RelativeError(
        weight, Coded(weight, scale_min, {4, WeightScaling::kChannel, 32, asymmetric}), 64);
  };
  CHECK(error(true) < 0.5 * error(false));
}

TEST_CASE("Weight coding: channels of zeros and single values survive") {
  const std::vector<float> weight = {0, 0, 0, 1e-30F, -5, 5};
  const std::vector<float> scale_min = {0, 0.5F, 0};
  for (const WeightSpec& spec :
       {WeightSpec{}, WeightSpec{2}, WeightSpec{3, WeightScaling::kGroup, 2, true}}) {
    const CodedWeight coded = Coded(weight, scale_min, spec);
    CHECK(WhyNotCoded(coded, 2) == "");
    CHECK(coded.weight[0] == 0);
    CHECK(coded.weight_scale[2] * static_cast<float>(coded.weight[4]) < -3.1F);
    CHECK(coded.weight_scale[2] * static_cast<float>(coded.weight[5]) > 3.1F);
    CHECK(coded.weight_scale[1] == 0.5F);
  }
}

TEST_CASE("WeightSpec: what no coding can hold is refused") {
  CHECK(CodeOf(WeightSpec{.bits = 1}.Validate()) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(WeightSpec{.bits = 9}.Validate()) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(WeightSpec{.bits = 8, .asymmetric = true}.Validate()) ==
        ErrorCode::kInvalidArgument);
  CHECK(CodeOf(WeightSpec{.bits = 8, .scaling = WeightScaling::kGroup}.Validate()) ==
        ErrorCode::kInvalidArgument);
  CHECK(CodeOf(WeightSpec{.bits = 4, .scaling = WeightScaling::kGroup, .group = 1}.Validate()) ==
        ErrorCode::kInvalidArgument);
  CHECK(CodeOf(WeightSpec{.bits = 4, .scaling = WeightScaling::kTensor, .asymmetric = true}
                   .Validate()) == ErrorCode::kOk);
  CHECK(CodeOf(WeightSpec{.bits = 7, .asymmetric = true}.Validate()) == ErrorCode::kOk);
}

TEST_CASE("WhyNotCoded: weights between two codes and beyond the last are named") {
  CodedWeight coded =
      Coded(Normals(32, 1), std::vector<float>(1), {.bits = 4, .scaling = WeightScaling::kGroup});
  REQUIRE(coded.multiplier[0] > 1);
  CHECK(WhyNotCoded(coded, 32) == "");
  CodedWeight broken = coded;
  broken.weight[3] = static_cast<std::int8_t>(broken.multiplier[0] + 1);
  CHECK(WhyNotCoded(broken, 32) != "");
  broken = coded;
  broken.multiplier[0] = 1;
  broken.weight.assign(32, 8);
  CHECK(WhyNotCoded(broken, 32) != "");
  broken.weight.assign(32, 7);
  CHECK(WhyNotCoded(broken, 32) == "");
  broken.zero.push_back(0);
  CHECK(WhyNotCoded(broken, 32) != "");
}

TEST_CASE("Quantize: codes of few bits run like the s8 weights that they stand for") {
  const Graph graph = Build({6, 6, 3}, {"conv 9 3x3 same", "relu", "flatten", "dense 4"});
  const NamedTensors parameters = InitializeParameters(graph, RngStream(2));
  const std::vector<float> samples = Normals(8 * 108, 3);
  const auto ranges =
      Get(ObserveRanges(graph, parameters.values, samples, 8, RangeMethod::kMinMax));
  const std::vector<WeightSpec> specs(graph.nodes.size(), {4, WeightScaling::kGroup, 8, true});
  const QuantizedModel coded = Get(Quantize(graph, parameters.values, ranges, specs));
  QuantizedModel plain = coded;
  for (QuantizedNode& node : plain.nodes) {
    node.coding = {};
    node.multiplier.clear();
    node.zero.clear();
  }
  std::vector<float> expected(32);
  std::vector<float> output(32);
  Get(IntegerSession::Create(plain, 8)).Run(samples, 8, expected);
  Get(IntegerSession::Create(coded, 8)).Run(samples, 8, output);
  CHECK(output == expected);
  QuantizedModel broken = coded;
  broken.nodes[1].multiplier[0] = 0;
  CHECK(CodeOf(broken.Validate()) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl::nn
