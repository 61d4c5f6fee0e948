#include "fl/common/nn/onnx/pytorch_tensors.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "fl/common/tensor/safetensors.h"
#include "fl/tests/common/nn/onnx/random_graph.h"

namespace fl::onnx {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;

nn::Graph Network() {
  return nn::testing::Build(
      {6, 6, 2}, {"features_0: conv 4 3x3 groups=2", "bn: batchnorm", "relu", "dw: depthwise 3x3",
                  "flatten", "tanh", "layer_0: dense 3", "norm: layernorm", "fc: dense 2"});
}

nn::ModelFile Small() {
  nn::ModelFile file;
  file.model = nn::FloatModel{Network(), testing::RandomParameters(Network(), 1)};
  return file;
}

SafetensorsFile Exported(const nn::ModelFile& file) {
  return Get(ParseSafetensors(Get(ExportPytorchTensors(file))));
}

TEST_CASE("PyTorch tensors: parameters come back bit for bit") {
  const nn::ModelFile file = Small();
  const nn::FloatModel after =
      Get(ImportPytorchTensors(Get(ExportPytorchTensors(file)), Network()));
  CHECK(after.parameters == std::get<nn::FloatModel>(file.model).parameters);
}

TEST_CASE("PyTorch tensors: shapes and orders are PyTorch's") {
  const nn::ModelFile file = Small();
  const auto& model = std::get<nn::FloatModel>(file.model);
  const SafetensorsFile stored = Exported(file);
  CHECK(stored.Find("features_0.weight")->shape == Shape{4, 1, 3, 3});
  CHECK(stored.Find("dw.weight")->shape == Shape{4, 1, 3, 3});
  CHECK(stored.Find("layer_0.weight")->shape == Shape{3, 16});
  CHECK(stored.Find("bn.running_var")->shape == Shape{4});
  CHECK(stored.Find("norm.weight")->shape == Shape{3});
  // Output 1 of the dense layer, channel 3, row 1, column 0 of the 2x2x4 image.
  const std::size_t tensor = *model.graph.parameters.Find("layer_0.weight");
  const float ours =
      model.parameters[model.graph.parameters.offset(tensor) + ((1 * 2 + 0) * 4 + 3) * 3 + 1];
  CHECK(Get(LoadFloats(*stored.Find("layer_0.weight")))[1 * 16 + 3 * 4 + 1 * 2 + 0] == ours);
}

TEST_CASE("PyTorch tensors: modules' names, a missing bias and num_batches_tracked") {
  SafetensorsFile stored = Exported(Small());
  for (StoredTensor& tensor : stored.tensors) {
    if (tensor.name == "features_0.weight") tensor.name = "Features.0.weight";
    if (tensor.name == "layer_0.weight") tensor.name = "0.weight";
  }
  std::erase_if(stored.tensors, [](const StoredTensor& one) { return one.name == "fc.bias"; });
  stored.tensors.push_back({"bn.num_batches_tracked", DType::kI64, Shape{1}, Bytes(8)});
  const nn::FloatModel model = Get(ImportPytorchTensors(SerializeSafetensors(stored), Network()));
  const std::size_t bias = *model.graph.parameters.Find("fc.bias");
  CHECK(model.parameters[model.graph.parameters.offset(bias)] == 0);
}

TEST_CASE("PyTorch tensors: an int8 model is written as the numbers that it stands for") {
  const nn::Graph graph = nn::testing::Build({4, 4, 2}, {"conv 3 3x3", "flatten", "dense 2"});
  nn::ModelFile file;
  file.model = testing::RandomQuantized(graph, 1);
  const nn::FloatModel after = Get(ImportPytorchTensors(Get(ExportPytorchTensors(file)), graph));
  CHECK(after.parameters == nn::Dequantize(std::get<nn::QuantizedModel>(file.model)).values);
}

TEST_CASE("PyTorch tensors: missing, superfluous, misshapen and infinite tensors are refused") {
  const auto code_after = [](const auto& change) {
    SafetensorsFile stored = Exported(Small());
    change(stored.tensors);
    return CodeOf(ImportPytorchTensors(SerializeSafetensors(stored), Network()));
  };
  using Tensors = std::vector<StoredTensor>;
  CHECK(code_after([](Tensors&) {}) == ErrorCode::kOk);
  CHECK(code_after([](Tensors& all) { all.erase(all.begin()); }) == ErrorCode::kShapeMismatch);
  CHECK(code_after([](Tensors& all) { all[0].name = "other.weight"; }) ==
        ErrorCode::kShapeMismatch);
  CHECK(code_after([](Tensors& all) { all.push_back(all[0]), all.back().name = "x"; }) ==
        ErrorCode::kShapeMismatch);
  CHECK(code_after([](Tensors& all) { all[0].shape = Shape{4, 9}; }) == ErrorCode::kShapeMismatch);
  CHECK(code_after([](Tensors& all) {
          all[0].data[3] = std::byte{0x7F};
          all[0].data[2] = std::byte{0x80};
        }) == ErrorCode::kNotFinite);
  CHECK(CodeOf(ImportPytorchTensors({}, Network())) == ErrorCode::kMalformed);
}

TEST_CASE("PyTorch tensors: a flattened image that a norm reads is not supported") {
  const nn::Graph graph = nn::testing::Build({4, 4, 2}, {"flatten", "layernorm", "dense 2"});
  nn::ModelFile file;
  file.model = nn::FloatModel{graph, testing::RandomParameters(graph, 1)};
  CHECK(CodeOf(ExportPytorchTensors(file)) == ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace fl::onnx
