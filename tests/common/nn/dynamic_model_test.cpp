// Models whose activations are rounded in each run: QuantizeDynamic and IntegerSession.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include <doctest/doctest.h>

#include "fl/common/nn/initialize.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/nn/session.h"
#include "fl/common/tensor/safetensors.h"
#include "fl/tests/common/nn/random_graph.h"
#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Build;
using testing::Normals;

QuantizedModel DynamicOf(const Graph& graph, const WeightSpec& spec = {}) {
  const std::vector<WeightSpec> specs(graph.nodes.size(), spec);
  return Get(QuantizeDynamic(graph, InitializeParameters(graph, RngStream(11)).values, specs));
}

std::vector<float> Run(const QuantizedModel& model, std::span<const float> samples,
                       std::size_t count,
                       IntegerInstructionSet set = IntegerInstructionSet::kGeneric) {
  std::vector<float> outputs(count * model.graph.output_shape().count());
  Get(IntegerSession::Create(model, count, set)).Run(samples, count, outputs);
  return outputs;
}

// NaN only agrees with NaN.
bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST_CASE("dynamic: a dense layer computes what the header says") {
  const Graph graph = Build({5}, {"dense 3"});
  QuantizedModel model = DynamicOf(graph);
  model.nodes[1].float_bias = {0.5F, -0.25F, 3};
  const std::vector<float> sample = {0.3F, -1.2F, 2.5F, 0, 0.7F};
  const ActivationScale scale = ScaleOf({-1.2F, 2.5F});
  const std::vector<float> outputs = Run(model, sample, 1);
  for (std::size_t c = 0; c < 3; ++c) {
    int sum = 0;
    for (std::size_t k = 0; k < 5; ++k) {
      const int code = static_cast<int>(std::nearbyint(sample[k] / scale.scale));
      sum += model.nodes[1].weight[c * 5 + k] * code;
    }
    const float unit = scale.scale * model.nodes[1].weight_scale[c];
    CHECK(outputs[c] == static_cast<float>(sum) * unit + model.nodes[1].float_bias[c]);
  }
}

// The rounded inputs, without their zero point.
std::vector<int> CodesOf(std::span<const float> sample, ActivationScale scale) {
  std::vector<int> codes;
  codes.reserve(sample.size());
  for (const float value : sample)
    codes.push_back(static_cast<int>(std::nearbyint(value / scale.scale)));
  return codes;
}

TEST_CASE("dynamic: a depthwise convolution computes what the header says") {
  const Graph graph = Build({5, 4, 3}, {"depthwise 3x3 stride=2 same", "relu", "flatten"});
  QuantizedModel model = DynamicOf(graph);
  model.nodes[1].float_bias = {0.5F, -0.25F, 1};
  std::vector<float> sample = Normals(60, 3);
  for (float& value : sample) value = std::max(value, -0.5F);
  const auto [low, high] = std::ranges::minmax(sample);
  const ActivationScale scale = ScaleOf({low, high});
  const std::vector<int> codes = CodesOf(sample, scale);
  std::vector<float> expected;
  for (std::size_t at = 0; at < 18; ++at) {  // 3 x 2 pixels; one row of padding, no column.
    const std::size_t c = at % 3;
    int sum = 0;
    for (std::size_t tap = 0; tap < 9; ++tap) {
      const std::size_t y = at / 6 * 2 + tap / 3;
      const std::size_t x = at / 3 % 2 * 2 + tap % 3;
      if (y < 1 || y > 5 || x > 3) continue;
      sum += model.nodes[1].weight[c * 9 + tap] * codes[((y - 1) * 4 + x) * 3 + c];
    }
    const float unit = scale.scale * model.nodes[1].weight_scale[c];
    expected.push_back(
        std::max(static_cast<float>(sum) * unit + model.nodes[1].float_bias[c], 0.0F));
  }
  for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
    CAPTURE(InstructionSetName(set));
    CHECK(Run(model, sample, 1, set) == expected);
  }
}

TEST_CASE("dynamic: a layer of few blocks counts inputs from their zero point") {
  const Graph graph = Build({300}, {"dense 40"});
  QuantizedModel model = DynamicOf(graph);
  QuantizedNode& node = model.nodes[1];
  for (std::size_t i = 0; i < node.weight.size(); ++i)
    if (i % 300 % 10 != i / 1200 % 10) node.weight[i] = 0;
  std::vector<float> sample = Normals(300, 4);
  for (float& value : sample) value = 1 + std::abs(value);
  const ActivationScale scale = ScaleOf({0, *std::ranges::max_element(sample)});
  const std::vector<int> codes = CodesOf(sample, scale);
  std::vector<float> expected;
  for (std::size_t c = 0; c < 40; ++c) {
    int sum = 0;
    for (std::size_t k = 0; k < 300; ++k) sum += node.weight[c * 300 + k] * codes[k];
    const float unit = scale.scale * node.weight_scale[c];
    expected.push_back(static_cast<float>(sum) * unit + node.float_bias[c]);
  }
  for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
    CAPTURE(InstructionSetName(set));
    CHECK(Run(model, sample, 1, set) == expected);
  }
}

TEST_CASE(
    "dynamic: random graphs have the same bits on every instruction set, alone and in a batch") {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    CAPTURE(seed);
    const Graph graph = testing::RandomGraph(seed).Make(3 + seed % 8);
    const std::size_t features = graph.input_shape().count();
    const std::size_t outputs = graph.output_shape().count();
    const std::vector<float> samples = Normals(3 * features, seed);
    const QuantizedModel model = DynamicOf(graph);
    const std::vector<float> expected = Run(model, samples, 3);
    for (const IntegerInstructionSet set : SupportedIntegerInstructionSets()) {
      CAPTURE(InstructionSetName(set));
      CHECK(SameBits(Run(model, samples, 3, set), expected));
    }
    const std::vector<float> last = Run(model, std::span(samples).last(features), 1);
    CHECK(std::equal(last.begin(), last.end(),
                     expected.end() - static_cast<std::ptrdiff_t>(outputs)));
  }
}

TEST_CASE("dynamic: outputs are near those of fp32, whatever the size of the inputs") {
  const Graph graph =
      Build({12, 12, 3}, {"conv 16 3x3 same", "in: relu", "depthwise 3x3 stride=2 same",
                          "hard_swish", "conv 16 1x1", "relu", "global_avgpool", "dense 10"});
  const std::vector<float> parameters = InitializeParameters(graph, RngStream(11)).values;
  const QuantizedModel model = DynamicOf(graph);
  for (const float size : {0.01F, 1.0F, 100.0F}) {
    CAPTURE(size);
    std::vector<float> samples = Normals(8 * 432, 5);
    for (float& value : samples) value *= size;
    std::vector<float> exact(80);
    Get(Session::Create(graph, 8)).Run(parameters, samples, 8, exact);
    const std::vector<float> rounded = Run(model, samples, 8);
    double error = 0;
    double power = 0;
    for (std::size_t i = 0; i < 80; ++i) {
      error += std::pow(double{rounded[i]} - double{exact[i]}, 2);
      power += std::pow(double{exact[i]}, 2);
    }
    CHECK(error < 1e-3 * power);
  }
}

TEST_CASE("dynamic: zeros, infinities and NaN give the same bits everywhere and no crash") {
  const Graph graph = Build({40}, {"dense 17", "relu", "dense 3"});
  QuantizedModel model = DynamicOf(graph);
  model.nodes[3].float_bias = {1, 2, 3};
  const std::vector<float> zeros(40, 0.0F);
  CHECK(Run(model, zeros, 1).size() == 3);
  model.nodes[1].float_bias.assign(17, 0.0F);
  CHECK(Run(model, zeros, 1) == std::vector<float>{1, 2, 3});
  for (const float odd :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(), 3e38F}) {
    std::vector<float> samples = Normals(40, 1);
    samples[3] = odd;
    const std::vector<float> expected = Run(model, samples, 1);
    for (const IntegerInstructionSet set : SupportedIntegerInstructionSets())
      CHECK(SameBits(Run(model, samples, 1, set), expected));
  }
}

ModelFile FileOf(const WeightSpec& spec) {
  ModelFile file;
  file.model =
      DynamicOf(Build({6, 6, 2}, {"conv 4 3x3", "relu", "flatten", "layernorm", "dense 3"}), spec);
  return file;
}

TEST_CASE("dynamic: a model file says that it is, and is read back as it was") {
  for (const WeightSpec& spec :
       {WeightSpec{}, WeightSpec{.bits = 4, .scaling = WeightScaling::kGroup, .group = 8},
        WeightSpec{.bits = 3, .asymmetric = true}}) {
    const ModelFile file = FileOf(spec);
    const Bytes bytes = SerializeModelFile(file);
    CHECK(Get(ParseSafetensors(bytes)).metadata.at("fl.precision") == "int8-dynamic");
    const ModelFile again = Get(ParseModelFile(bytes));
    const auto& model = std::get<QuantizedModel>(again.model);
    CHECK(model.dynamic());
    CHECK(model.nodes == std::get<QuantizedModel>(file.model).nodes);
    CHECK(SerializeModelFile(again) == bytes);
  }
}

TEST_CASE("dynamic: broken files are refused") {
  const auto code = [](const auto& change) {
    SafetensorsFile stored = Get(ParseSafetensors(SerializeModelFile(FileOf({}))));
    change(stored);
    return CodeOf(ParseModelFile(SerializeSafetensors(stored)));
  };
  const auto tensor = [](SafetensorsFile& file, std::string_view name) -> StoredTensor& {
    return *std::ranges::find(file.tensors, name, &StoredTensor::name);
  };
  CHECK(code([](SafetensorsFile&) {}) == ErrorCode::kOk);
  // As a static model it lacks scales, and its biases are of the wrong type.
  CHECK(code([](SafetensorsFile& f) { f.metadata["fl.precision"] = "int8"; }) != ErrorCode::kOk);
  CHECK(code([&](SafetensorsFile& f) { tensor(f, "conv1.bias").dtype = DType::kI32; }) !=
        ErrorCode::kOk);
  CHECK(code([&](SafetensorsFile& f) { tensor(f, "conv1.bias").name = "other"; }) ==
        ErrorCode::kShapeMismatch);
  CHECK(code([](SafetensorsFile& f) {
          f.tensors.push_back(StoreFloats("activation.scale", Shape{6}, std::vector<float>(6, 1)));
        }) == ErrorCode::kMalformed);
  // A NaN: all bits of the first bias.
  CHECK(code([&](SafetensorsFile& f) {
          std::fill_n(tensor(f, "conv1.bias").data.begin(), 4, std::byte{0xFF});
        }) == ErrorCode::kMalformed);
}

TEST_CASE("QuantizeDynamic: what cannot be meant is refused") {
  const Graph graph = Build({4}, {"dense 3", "relu", "dense 2"});
  const std::vector<float> parameters = InitializeParameters(graph, RngStream(1)).values;
  CHECK(CodeOf(QuantizeDynamic(graph, std::span(parameters).first(3))) ==
        ErrorCode::kInvalidArgument);
  std::vector<float> bad = parameters;
  bad[1] = std::numeric_limits<float>::quiet_NaN();
  CHECK(CodeOf(QuantizeDynamic(graph, bad)) == ErrorCode::kNotFinite);
  const Graph norm = Build({4}, {"dense 3", "batchnorm", "dense 2"});
  CHECK(CodeOf(QuantizeDynamic(norm, InitializeParameters(norm, RngStream(1)).values)) ==
        ErrorCode::kUnsupported);
  QuantizedModel model = DynamicOf(graph);
  model.nodes[1].bias.assign(3, 0);
  CHECK(CodeOf(IntegerSession::Create(model, 1)) == ErrorCode::kMalformed);
}

TEST_CASE("dynamic: Dequantize gives weights and biases") {
  const Graph graph = Build({4}, {"dense 3"});
  const std::vector<float> parameters = InitializeParameters(graph, RngStream(11)).values;
  const NamedTensors values = Dequantize(DynamicOf(graph));
  for (std::size_t i = 0; i < 12; ++i) CHECK(std::abs(values.values[i] - parameters[i]) < 0.01F);
  for (std::size_t i = 12; i < 15; ++i) CHECK(values.values[i] == parameters[i]);
}

}  // namespace
}  // namespace fl::nn
