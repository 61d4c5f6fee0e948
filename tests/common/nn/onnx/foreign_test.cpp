#include <algorithm>
#include <cmath>
#include <cstring>

#include <doctest/doctest.h>

#include "fl/common/base/file.h"
#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/onnx/import_onnx.h"
#include "fl/common/nn/session.h"
#include "fl/tests/support/result.h"

// Files of tests/golden/onnx, which PyTorch and ONNX Runtime's quantization wrote (make.py there).
namespace fl::onnx {
namespace {

using fl::testing::Get;

Bytes Golden(const std::string& name) {
  return Get(ReadFile(std::string(FL_TEST_SOURCE_DIR) + "/tests/golden/onnx/" + name, 1 << 20));
}

std::vector<float> GoldenFloats(const std::string& name) {
  const Bytes bytes = Golden(name);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

// Images height x width x channels from ones with channels first.
std::vector<float> ChannelsLast(const std::vector<float>& values, const Shape& shape) {
  std::vector<float> moved(values.size());
  const std::size_t pixels = shape[0] * shape[1];
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t within = i % (pixels * shape[2]);
    moved[i - within + within % pixels * shape[2] + within / pixels] = values[i];
  }
  return moved;
}

struct Outputs {
  std::vector<float> expected;
  std::vector<float> found;
  std::size_t count;
};

Outputs RunGolden(const std::string& name, const nn::ModelFile& file) {
  const Shape& shape = file.graph().input_shape();
  const std::vector<float> input = ChannelsLast(GoldenFloats(name + ".input"), shape);
  Outputs outputs{GoldenFloats(name + ".output"), {}, input.size() / shape.count()};
  outputs.found.resize(outputs.expected.size());
  REQUIRE(outputs.count * file.graph().output_shape().count() == outputs.expected.size());
  if (const auto* model = std::get_if<nn::FloatModel>(&file.model)) {
    Get(nn::Session::Create(model->graph, outputs.count))
        .Run(model->parameters, input, outputs.count, outputs.found);
  } else {
    Get(nn::IntegerSession::Create(std::get<nn::QuantizedModel>(file.model), outputs.count))
        .Run(input, outputs.count, outputs.found);
  }
  return outputs;
}

float LargestError(const Outputs& outputs) {
  float largest = 1;
  float error = 0;
  for (std::size_t i = 0; i < outputs.found.size(); ++i) {
    largest = std::max(largest, std::abs(outputs.expected[i]));
    error = std::max(error, std::abs(outputs.found[i] - outputs.expected[i]));
  }
  return error / largest;
}

TEST_CASE("ONNX: networks that PyTorch exported give PyTorch's outputs") {
  for (const char* name : {"torch_block", "torch_block_legacy", "torch_small"}) {
    CAPTURE(name);
    const nn::ModelFile file = Get(ImportOnnx(Golden(std::string(name) + ".onnx")));
    CHECK(std::holds_alternative<nn::FloatModel>(file.model));
    CHECK(LargestError(RunGolden(name, file)) < 1e-5F);
  }
}

TEST_CASE("ONNX: symmetric pads of a strided convolution become a larger kernel of zeros") {
  const nn::ModelFile file = Get(ImportOnnx(Golden("torch_block.onnx")));
  CHECK(file.graph().nodes[1].same_padding);
  CHECK(file.graph().nodes[1].kernel_height == 4);
}

TEST_CASE("ONNX: int8 networks of ONNX Runtime's quantization run as integers") {
  for (const char* name : {"qdq_u8", "qdq_s8"}) {
    CAPTURE(name);
    const nn::ModelFile file = Get(ImportOnnx(Golden(std::string(name) + ".onnx")));
    REQUIRE(std::holds_alternative<nn::QuantizedModel>(file.model));
    // ONNX Runtime quantizes the output once more, where ours stays fp32; one unit may be rounded
    // otherwise on the way.
    const nn::ActivationScale scale = std::get<nn::QuantizedModel>(file.model).activations.back();
    const float low = scale.scale * static_cast<float>(-128 - scale.zero_point);
    const float high = scale.scale * static_cast<float>(127 - scale.zero_point);
    const Outputs outputs = RunGolden(name, file);
    for (std::size_t i = 0; i < outputs.found.size(); ++i) {
      CHECK(std::abs(std::clamp(outputs.found[i], low, high) - outputs.expected[i]) <=
            2 * scale.scale);
    }
  }
}

}  // namespace
}  // namespace fl::onnx
