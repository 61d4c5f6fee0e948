#include "fl/compression/deploy/round_weights.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "fl/compression/deploy/adaround.h"
#include "fl/compression/deploy/correct_bias.h"
#include "fl/compression/deploy/equalize.h"
#include "fl/compression/deploy/layer_model.h"
#include "fl/tests/compression/deploy/small_digits.h"
#include "fl/tests/support/sanitized.h"

namespace fl::deploy {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using fl::testing::kSanitized;
using testing::DigitsModel;
using testing::SmallConvolutions;
using testing::TrainDigits;

// What "plain rounding at 4 bits per tensor" means below.
WeightPlan FourBitsPerTensor() {
  return {.spec = {.bits = 4, .scaling = nn::WeightScaling::kTensor}, .by_node = {}};
}

TEST_CASE("RoundWeights: groups of 32 beat a scale per channel at 3 bits") {
  const DigitsModel& model = SmallConvolutions();
  const auto error = [&](std::uint32_t group) {
    WeightPlan plan{.spec = {.bits = 3}, .by_node = {}};
    if (group > 0) plan.spec = {.bits = 3, .scaling = nn::WeightScaling::kGroup, .group = group};
    return model.LogitError(Get(RoundWeights(model.graph, model.parameters, plan)).parameters);
  };
  CHECK((error(32) < 0.95 * error(0) || kSanitized));
}

TEST_CASE("RoundWeights: each node obeys its own coding, biases stay") {
  const DigitsModel& model = SmallConvolutions();
  WeightPlan plan = FourBitsPerTensor();
  plan.by_node["conv1"] = {.bits = 8};
  const RoundedWeights rounded = Get(RoundWeights(model.graph, model.parameters, plan));
  CHECK(rounded.grids.size() == 4);
  CHECK(rounded.grids.at("conv1").spec.bits == 8);
  CHECK(rounded.grids.at("dense2").spec == plan.spec);
  for (const std::size_t i : WeightNodes(model.graph)) {
    const std::size_t bias = model.graph.nodes[i].parameters[1];
    const std::size_t at = model.graph.parameters.offset(bias);
    CHECK(rounded.parameters[at] == model.parameters[at]);
  }
}

TEST_CASE("RoundWeights: unknown nodes, odd codings and wrong sizes are refused") {
  const DigitsModel& model = SmallConvolutions();
  WeightPlan plan = FourBitsPerTensor();
  CHECK(CodeOf(RoundWeights(model.graph, std::span(model.parameters).first(5), plan)) ==
        ErrorCode::kInvalidArgument);
  plan.by_node["relu1"] = {};
  CHECK(CodeOf(RoundWeights(model.graph, model.parameters, plan)) == ErrorCode::kNotFound);
  plan.by_node = {{"conv1", {.bits = 1}}};
  CHECK(CodeOf(RoundWeights(model.graph, model.parameters, plan)) == ErrorCode::kInvalidArgument);
  std::vector<float> bad = model.parameters;
  bad[0] = std::numeric_limits<float>::quiet_NaN();
  CHECK(CodeOf(RoundWeights(model.graph, bad, FourBitsPerTensor())) == ErrorCode::kNotFinite);
}

TEST_CASE("AdaRound: at 4 bits per tensor the logits move less than by plain rounding") {
  const DigitsModel& model = SmallConvolutions();
  const RoundedWeights plain =
      Get(RoundWeights(model.graph, model.parameters, FourBitsPerTensor()));
  RoundedWeights learned = plain;
  const AdaRounded outcome = Get(AdaRound(model.graph, model.parameters, TrainDigits().First(512),
                                          {}, {.iterations = 600}, learned));
  CHECK(outcome.layers == 4);
  CHECK(outcome.changed > 100);
  CHECK(outcome.error_after < outcome.error_before);
  CHECK(model.LogitError(learned.parameters) < 0.5 * model.LogitError(plain.parameters));
  // Still on the same grids, and the same with the same seed.
  for (const std::size_t i : WeightNodes(model.graph)) {
    const nn::Node& node = model.graph.nodes[i];
    const nn::WeightMatrix weight = nn::WeightOf(model.graph, node, learned.parameters);
    std::vector<float> again(weight.values.size());
    nn::RoundToGrid(plain.grids.at(node.name), weight.values, again);
    CHECK(std::equal(again.begin(), again.end(), weight.values.begin()));
  }
}

TEST_CASE("AdaRound: the same seed gives the same bits, and more bits than asked stay nearest") {
  const DigitsModel& model = SmallConvolutions();
  WeightPlan plan = FourBitsPerTensor();
  plan.by_node["conv2"] = {.bits = 6};
  const RoundedWeights plain = Get(RoundWeights(model.graph, model.parameters, plan));
  const auto run = [&] {
    RoundedWeights rounded = plain;
    const AdaRounded outcome = Get(AdaRound(model.graph, model.parameters, TrainDigits().First(64),
                                            {}, {.iterations = 20}, rounded));
    CHECK(outcome.layers == 3);
    return rounded.parameters;
  };
  const std::vector<float> once = run();
  CHECK(once == run());
  const std::size_t conv2 = model.graph.parameters.offset(2);
  CHECK(std::equal(once.begin() + static_cast<std::ptrdiff_t>(conv2),
                   once.begin() + static_cast<std::ptrdiff_t>(conv2) + 8 * 9 * 16,
                   plain.parameters.begin() + static_cast<std::ptrdiff_t>(conv2)));
}

TEST_CASE("CorrectBias: at 4 bits per tensor the logits move less than by plain rounding") {
  const DigitsModel& model = SmallConvolutions();
  const RoundedWeights plain =
      Get(RoundWeights(model.graph, model.parameters, FourBitsPerTensor()));
  RoundedWeights corrected = plain;
  const BiasCorrection outcome =
      Get(CorrectBias(model.graph, model.parameters, TrainDigits().First(256), {}, corrected));
  CHECK(outcome.layers == 4);
  CHECK(outcome.largest_shift > 0.01);
  CHECK(model.LogitError(corrected.parameters) < 0.95 * model.LogitError(plain.parameters));
}

TEST_CASE("CorrectBias: what 8-bit activations shift is taken away, too") {
  const DigitsModel& model = SmallConvolutions();
  RoundedWeights exact{{}, model.parameters};
  // A range that cuts the input's upper half shifts every layer's mean.
  std::vector<nn::ActivationRange> ranges(model.graph.nodes.size(), {0, 100});
  ranges[0] = {0, 0.5F};
  const BiasCorrection outcome =
      Get(CorrectBias(model.graph, model.parameters, TrainDigits().First(64), ranges, exact));
  CHECK(outcome.largest_shift > 0.01);
  RoundedWeights same{{}, model.parameters};
  const BiasCorrection nothing =
      Get(CorrectBias(model.graph, model.parameters, TrainDigits().First(64), {}, same));
  CHECK(nothing.largest_shift == 0);
  CHECK(same.parameters == model.parameters);
}

TEST_CASE("AdaRound, CorrectBias: samples and settings that do not fit are refused") {
  const DigitsModel& model = SmallConvolutions();
  RoundedWeights rounded = Get(RoundWeights(model.graph, model.parameters, FourBitsPerTensor()));
  const std::vector<nn::ActivationRange> one_range(1);
  const nn::SampleValues good = TrainDigits().First(8);
  const auto adaround = [&](const nn::SampleValues& samples, const AdaRoundConfig& config) {
    return CodeOf(AdaRound(model.graph, model.parameters, samples, {}, config, rounded));
  };
  CHECK(adaround({}, {}) == ErrorCode::kInvalidArgument);
  CHECK(adaround({good.values, 7}, {}) == ErrorCode::kInvalidArgument);
  CHECK(adaround(good, {.iterations = 0}) == ErrorCode::kInvalidArgument);
  CHECK(adaround(good, {.learning_rate = std::nan("")}) == ErrorCode::kInvalidArgument);
  CHECK(adaround(good, {.warm_start = 1}) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(CorrectBias(model.graph, model.parameters, {}, {}, rounded)) ==
        ErrorCode::kInvalidArgument);
  CHECK(CodeOf(CorrectBias(model.graph, model.parameters, good, one_range, rounded)) ==
        ErrorCode::kInvalidArgument);
  std::vector<float> bad(784, std::numeric_limits<float>::infinity());
  CHECK(CodeOf(CorrectBias(model.graph, model.parameters, {bad, 1}, {}, rounded)) ==
        ErrorCode::kNotFinite);
}

// The same function, but channels of very different size: channel c of the first convolution is
// 16^(c % 3 - 1) times what it was, and the next layer divides by it.
std::vector<float> Unbalanced(const DigitsModel& model) {
  std::vector<float> parameters = model.parameters;
  const TensorLayout& layout = model.graph.parameters;
  for (std::size_t tensor = 0; tensor < 3; ++tensor) {  // conv1.weight, conv1.bias, conv2.weight.
    for (std::size_t i = 0; i < layout[tensor].shape.count(); ++i) {
      const std::size_t channel = tensor < 2 ? i % 8 : i / 16 % 8;
      const int power = 4 * (static_cast<int>(channel % 3) - 1);
      float& value = parameters[layout.offset(tensor) + i];
      value = std::ldexp(value, tensor < 2 ? power : -power);
    }
  }
  return parameters;
}

TEST_CASE("Equalize: at 4 bits per tensor an unbalanced model loses less, and computes the same") {
  const DigitsModel& model = SmallConvolutions();
  const std::vector<float> unbalanced = Unbalanced(model);
  CHECK(model.LogitError(unbalanced) < 1e-6);
  std::vector<float> equalized = unbalanced;
  const Equalized outcome = Get(Equalize(model.graph, equalized));
  CHECK(outcome.pairs == 3);
  CHECK(outcome.sweeps <= 20);
  CHECK(outcome.largest_scale > 2);
  CHECK(model.LogitError(equalized) < 1e-6);
  const auto error = [&](std::span<const float> parameters) {
    return model.LogitError(
        Get(RoundWeights(model.graph, parameters, FourBitsPerTensor())).parameters);
  };
  CHECK(error(equalized) < 0.5 * error(unbalanced));
}

TEST_CASE("Equalize: a channel of zeros, and what no scale can pass, stay as they are") {
  const nn::Graph graph = Get(nn::BuildGraph(
      Shape{4}, std::vector<std::string>{"dense 3", "relu6", "dense 3", "relu", "dense 2"},
      "softmax_cross_entropy"));
  std::vector<float> parameters(graph.parameters.total(), 0.5F);
  const std::vector<float> before = parameters;
  for (std::size_t k = 0; k < 3; ++k) parameters[15 + k * 3] = 0;  // Channel 0 of dense2.
  CHECK(Get(Equalize(graph, parameters)).pairs == 1);
  CHECK(std::equal(before.begin(), before.begin() + 15, parameters.begin()));
  CHECK(AllFinite(parameters));
  CHECK(CodeOf(Equalize(graph, std::span(parameters).first(3))) == ErrorCode::kInvalidArgument);
  parameters[1] = std::numeric_limits<float>::infinity();
  CHECK(CodeOf(Equalize(graph, parameters)) == ErrorCode::kNotFinite);
}

}  // namespace
}  // namespace fl::deploy
