#include "fl/common/nn/integer_session.h"

#include <bit>
#include <cmath>
#include <set>

#include <doctest/doctest.h>

#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/internal/integer_table.h"
#include "fl/common/nn/operator.h"
#include "fl/common/nn/session.h"
#include "fl/tests/common/nn/integer_reference.h"
#include "fl/tests/common/nn/random_graph.h"
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

TEST_CASE("IntegerSession: random graphs give the reference's bits with every instruction set") {
  std::set<OpKind> seen;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    const Graph graph = testing::RandomGraph(seed).Make(3 + seed % 8);
    const std::size_t features = graph.input_shape().count();
    const std::size_t outputs = graph.output_shape().count();
    const std::vector<float> samples = Normals(3 * features, seed);
    const QuantizedModel model = QuantizedOf(graph, samples, 3);
    std::vector<float> expected;
    for (std::size_t i = 0; i < 3; ++i) {
      const std::vector<float> one =
          testing::RunIntegerReference(model, std::span(samples).subspan(i * features, features));
      expected.insert(expected.end(), one.begin(), one.end());
    }
    for (const Node& node : graph.nodes) seen.insert(node.kind);
    for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
      CAPTURE(InstructionSetName(set));
      std::vector<float> output(3 * outputs);
      Get(IntegerSession::Create(model, 3, set)).Run(samples, 3, output);
      CHECK(output == expected);
    }
  }
  // Every operator but batch norm, which an integer model cannot have.
  for (const OpKind kind : kOpKinds) {
    CAPTURE(RulesOf(kind).name);
    CHECK(seen.contains(kind) == (kind != OpKind::kBatchNorm));
  }
}

TEST_CASE("IntegerSession: observed, every node yields the reference's bits") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    const Graph graph = testing::RandomGraph(seed).Make(3 + seed % 8);
    const std::size_t features = graph.input_shape().count();
    const std::size_t outputs = graph.output_shape().count();
    const std::vector<float> samples = Normals(3 * features, seed);
    const QuantizedModel model = QuantizedOf(graph, samples, 3);
    const auto expected =
        testing::RunReferenceNodes(model, std::span(samples).subspan(features, features));
    for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
      CAPTURE(InstructionSetName(set));
      IntegerSession session = Get(IntegerSession::CreateObserved(model, 3, set));
      std::vector<float> output(2 * outputs);
      session.Run(std::span(samples).first(2 * features), 2, output);
      CHECK(std::equal(expected.back().begin(), expected.back().end(),
                       output.end() - static_cast<std::ptrdiff_t>(outputs)));
      for (std::size_t i = 0; i + 1 < graph.nodes.size(); ++i) {
        CAPTURE(graph.nodes[i].name);
        std::vector<float> values(2 * expected[i].size());
        session.Read(i, values);
        const auto second = std::span(values).last(expected[i].size());
        CHECK(std::equal(expected[i].begin(), expected[i].end(), second.begin()));
      }
    }
  }
}

TEST_CASE(
    "IntegerSession: a channel vector scales an image, and heads that nobody reads are left out") {
  const Graph graph = Build({4, 5, 20}, {"image: conv 20 3x3 same", "squeeze: global_avgpool",
                                         "dense 20", "gate: sigmoid", "multiply gate from=image",
                                         "head: conv 4 1x1", "flatten from=multiply1", "dense 3"});
  const std::vector<float> samples = Normals(2 * 400, 3);
  const QuantizedModel model = QuantizedOf(graph, samples, 2);
  for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
    std::vector<float> output(6);
    Get(IntegerSession::Create(model, 2, set)).Run(samples, 2, output);
    const auto second = testing::RunIntegerReference(model, std::span(samples).last(400));
    CHECK(std::equal(second.begin(), second.end(), output.begin() + 3));
  }
}

TEST_CASE("IntegerSession: a large layer that leaves out zeros gives the reference's bits") {
  const Graph graph = Build({40}, {"dense 1101", "relu", "dense 1000", "relu", "dense 3"});
  const std::vector<float> samples = Normals(3 * 40, 6);
  QuantizedModel model = QuantizedOf(graph, samples, 3);
  REQUIRE(model.nodes[3].weight.size() > 1U << 20);
  const auto check = [&] {
    for (std::size_t i = 0; i < 3; ++i) {
      const auto sample = std::span(samples).subspan(i * 40, 40);
      const std::vector<float> expected = testing::RunIntegerReference(model, sample);
      for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
        CAPTURE(InstructionSetName(set));
        std::vector<float> output(3);
        Get(IntegerSession::Create(model, 1, set)).Run(sample, 1, output);
        CHECK(output == expected);
      }
    }
  };
  check();
  // From none to all of the inputs that the layer reads are zero.
  for (std::int32_t& bias : model.nodes[1].bias) bias = 1 << 20;
  check();
  for (std::size_t c = 0; c < 1100; ++c) model.nodes[1].bias[c] = -(1 << 20);
  check();
  model.nodes[1].bias[1100] = -(1 << 20);
  check();
}

// FNV-1a over the bits of all outputs.
std::uint64_t HashOfRuns(const QuantizedModel& model, IntegerInstructionSet set) {
  constexpr std::size_t kBatch = 100;
  IntegerSession session = Get(IntegerSession::Create(model, kBatch, set));
  std::vector<float> output(kBatch * session.graph().output_shape().count());
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (std::size_t run = 0; run < 100; ++run) {
    session.Run(Normals(kBatch * session.graph().input_shape().count(), run), kBatch, output);
    for (const float value : output) {
      hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001B3U;
    }
  }
  return hash;
}

TEST_CASE("IntegerSession: 10,000 inputs have one hash on every instruction set") {
  const Graph graph =
      Build({8, 8, 2}, {"conv 16 3x3 same", "in: relu6", "depthwise 3x3 same", "hard_swish",
                        "conv 16 1x1", "add in", "relu", "maxpool 2", "flatten", "dense 10"});
  const QuantizedModel model = QuantizedOf(graph, Normals(50 * 128, 1), 50);
  const std::uint64_t expected = HashOfRuns(model, IntegerInstructionSet::kGeneric);
  for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
    CAPTURE(InstructionSetName(set));
    CHECK(HashOfRuns(model, set) == expected);
  }
}

// A model whose every bit follows from the seed, on each processor: no float engine chose its
// scales.
QuantizedModel DrawnModel(const Graph& graph, std::uint64_t seed) {
  RngStream rng(seed);
  QuantizedModel model{graph, std::vector<ActivationScale>(graph.nodes.size()),
                       std::vector<QuantizedNode>(graph.nodes.size())};
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    model.activations[i] = {0.01F + 0.02F * rng.Uniform(),
                            static_cast<std::int32_t>(rng.UniformInteger(41)) - 20};
    const QuantizeRule rule = RulesOf(node.kind).quantize.value_or(QuantizeRule::kSource);
    if (rule == QuantizeRule::kCommutes || rule == QuantizeRule::kClamp)
      model.activations[i] = model.activations[node.inputs[0]];
    if (node.parameters.empty()) continue;
    const Shape& weight = graph.parameters[node.parameters[0]].shape;
    QuantizedNode& to = model.nodes[i];
    to.weight.resize(weight.count());
    for (std::int8_t& value : to.weight)
      value = static_cast<std::int8_t>(static_cast<int>(rng.UniformInteger(255)) - 127);
    const std::size_t channels = weight[weight.rank() - 1];
    for (std::size_t c = 0; c < channels; ++c) {
      to.weight_scale.push_back(0.0005F + 0.001F * rng.Uniform());
      to.bias.push_back(static_cast<std::int32_t>(rng.UniformInteger(2001)) - 1000);
    }
  }
  return model;
}

TEST_CASE("IntegerSession: the outputs have the same hash on each processor") {
  const QuantizedModel model = DrawnModel(
      Build({9, 8, 3}, {"conv 18 3x3 same", "in: relu6", "depthwise 3x3 same", "hard_swish",
                        "conv 18 1x1", "add in", "relu", "maxpool 2", "avgpool 2 stride=1 same",
                        "flatten", "dense 70", "tanh", "dense 10"}),
      7);
  std::vector<float> inputs(500 * 216);
  RngStream rng(8);
  for (float& value : inputs) value = 4 * rng.Uniform() - 2;
  for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
    CAPTURE(InstructionSetName(set));
    std::vector<float> output(500 * 10);
    Get(IntegerSession::Create(model, 500, set)).Run(inputs, 500, output);
    std::uint64_t hash = 0xCBF29CE484222325U;
    for (const float value : output)
      hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001B3U;
    CHECK(hash == 14066756593227388408U);
  }
}

TEST_CASE("FunctionTable: own arithmetic agrees with the C library") {
  CHECK(internal::Exponential(0) == 1);
  CHECK(internal::Exponential(-1000) == 0);
  for (int i = -1890; i <= 1890; ++i) {
    const double x = 0.37 * i;
    CHECK(internal::Exponential(x) == doctest::Approx(std::exp(x)).epsilon(1e-11));
  }
  const auto table = internal::FunctionTable(OpKind::kTanh, {0.05F, 0}, {1.0F / 127, 0});
  for (int q = -128; q <= 127; ++q) {
    const double exact = 127 * std::tanh(0.05 * q);
    CHECK(std::abs(table[static_cast<std::size_t>(q + 128)] - exact) < 0.501);
  }
}

TEST_CASE("Quantize: what only a ReLU reads spends no codes on what it cuts off") {
  const Graph graph = Build({4}, {"dense 3", "relu", "dense 2"});
  const std::vector<ActivationRange> ranges = {{-1, 1}, {-9, 2}, {0, 2}, {-1, 1}};
  const auto scales = Get(ScalesOf(graph, ranges));
  CHECK(scales[1] == ScaleOf({0, 2}));
  const Graph both = Build({4}, {"dense 4", "relu", "add dense1", "dense 2"});
  const std::vector<ActivationRange> wide = {{-1, 1}, {-9, 2}, {0, 2}, {-9, 4}, {-1, 1}};
  CHECK(Get(ScalesOf(both, wide))[1] == ScaleOf({-9, 2}));
}

TEST_CASE("Quantize: a batch norm is refused with the pass that removes it") {
  const Graph graph = Build({4}, {"dense 3", "batchnorm", "dense 2"});
  const NamedTensors parameters(graph.parameters);
  const std::vector<ActivationScale> scales(graph.nodes.size());
  const auto refused = Quantize(graph, parameters.values, scales);
  REQUIRE(CodeOf(refused) == ErrorCode::kUnsupported);
  CHECK(refused.error().message.find("fold_batchnorm") != std::string::npos);
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
