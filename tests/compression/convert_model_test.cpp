#include "fl/compression/app/model/convert_model.h"

#include <doctest/doctest.h>

#include "fl/common/base/file.h"
#include "fl/tests/support/result.h"

namespace fl::model_app {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;

nn::ModelFile Digits() {
  const std::string path =
      std::string(FL_TEST_SOURCE_DIR) + "/tests/golden/models/digits_int8.safetensors";
  return Get(nn::ParseModelFile(Get(ReadFile(path, 1U << 20))));
}

NetworkLines DigitsNetwork() {
  NetworkLines network;
  network.layers = LayerLines(
      "# The digits\n\n  conv1: conv 4 5x5 stride=2  # 12x12x4\r\nrelu\nmaxpool 2\nflatten\n"
      "dense1: dense 10");
  network.input = "28x28x1";
  return network;
}

TEST_CASE("fl-model: what is exported is imported again, whatever the form") {
  const nn::ModelFile digits = Digits();
  const auto& integers = std::get<nn::QuantizedModel>(digits.model);
  for (const char* format : {"onnx", "safetensors"}) {
    CAPTURE(format);
    const nn::ModelFile after = Get(ImportModel(Get(ExportModel(digits, format, "")), {}));
    const auto& found = std::get<nn::QuantizedModel>(after.model);
    CHECK(found.nodes == integers.nodes);
    CHECK(after.notes == digits.notes);
  }
  const Bytes tensors = Get(ExportModel(digits, "safetensors", "pytorch"));
  const nn::ModelFile floats = Get(ImportModel(tensors, DigitsNetwork()));
  CHECK(std::get<nn::FloatModel>(floats.model).parameters == nn::Dequantize(integers).values);
}

TEST_CASE("fl-model: unknown forms, missing lines and lines too many are wrong calls") {
  const nn::ModelFile digits = Digits();
  CHECK(CodeOf(ExportModel(digits, "tflite", "")) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(ExportModel(digits, "onnx", "pytorch")) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(ExportModel(digits, "safetensors", "keras")) == ErrorCode::kInvalidArgument);
  const Bytes tensors = Get(ExportModel(digits, "safetensors", "pytorch"));
  CHECK(CodeOf(ImportModel(tensors, {})) == ErrorCode::kInvalidArgument);
  NetworkLines network = DigitsNetwork();
  network.input = "28xx1";
  CHECK(CodeOf(ImportModel(tensors, network)) == ErrorCode::kInvalidArgument);
  network.input = "20x28x1";
  CHECK(CodeOf(ImportModel(tensors, network)) == ErrorCode::kShapeMismatch);
  const Bytes whole = Get(ExportModel(digits, "onnx", ""));
  CHECK(CodeOf(ImportModel(whole, DigitsNetwork())) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(ImportModel({}, {})) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl::model_app
