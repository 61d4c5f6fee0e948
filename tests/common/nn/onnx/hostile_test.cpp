#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>

#include <doctest/doctest.h>

#include "fl/common/nn/onnx/export_onnx.h"
#include "fl/common/nn/onnx/import_onnx.h"
#include "fl/common/nn/onnx/internal/proto_wire.h"
#include "fl/tests/common/nn/onnx/random_graph.h"

namespace fl::onnx {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using internal::ProtoWriter;

OnnxModel SmallFloat() {
  const nn::Graph graph =
      nn::testing::Build({6, 6, 2}, {"conv 3 3x3 same", "relu", "maxpool 2", "flatten", "dense 4"});
  nn::ModelFile file;
  file.model = nn::FloatModel{graph, testing::RandomParameters(graph, 1)};
  return Get(ExportOnnx(file));
}

OnnxModel SmallInteger() {
  const nn::Graph graph =
      nn::testing::Build({6, 6, 2}, {"conv 3 3x3 same", "relu", "flatten", "dense 4"});
  nn::ModelFile file;
  file.model = testing::RandomQuantized(graph, 1);
  return Get(ExportOnnx(file));
}

Operator& OperatorOf(OnnxModel& model, std::string_view type) {
  const auto found = std::ranges::find(model.operators, type, &Operator::type);
  REQUIRE(found != model.operators.end());
  return *found;
}

Tensor& ConstantOf(OnnxModel& model, std::string_view name) {
  const auto found = std::ranges::find(model.constants, name, &Tensor::name);
  REQUIRE(found != model.constants.end());
  return *found;
}

void SetFloat(Tensor& tensor, std::size_t i, float value) {
  std::memcpy(tensor.data.data() + i * sizeof(value), &value, sizeof(value));
}

// The error of a good model after one change.
Error ErrorAfter(OnnxModel model, const std::function<void(OnnxModel&)>& change) {
  REQUIRE(ImportOnnx(SerializeOnnx(model)).has_value());
  change(model);
  const auto found = ImportOnnx(SerializeOnnx(model));
  REQUIRE_FALSE(found.has_value());
  return found.error();
}

bool Says(const Error& error, std::string_view part) {
  CAPTURE(error.message);
  return error.message.find(part) != std::string::npos;
}

TEST_CASE("ONNX: a file that breaks off anywhere is refused") {
  for (const OnnxModel& model : {SmallFloat(), SmallInteger()}) {
    const Bytes bytes = SerializeOnnx(model);
    REQUIRE(Get(ParseOnnx(bytes)) == model);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto found = ImportOnnx(ByteSpan(bytes).first(size));
      // What is missing at the end may be metadata only.
      if (found.has_value()) CHECK(size + 64 > bytes.size());
    }
  }
}

TEST_CASE("ONNX: a file with any one byte changed is read or refused, and never more") {
  const Bytes bytes = SerializeOnnx(SmallInteger());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const unsigned flip : {0x01U, 0x80U, 0xFFU}) {
      Bytes changed = bytes;
      changed[i] ^= static_cast<std::byte>(flip);
      const auto found = ImportOnnx(changed);
      if (found.has_value()) CHECK(found->graph().nodes.size() > 1);
    }
  }
}

TEST_CASE("ONNX: an unknown operator is refused by name, with the list of those that are known") {
  Error error =
      ErrorAfter(SmallFloat(), [](OnnxModel& model) { OperatorOf(model, "Relu").type = "Gelu"; });
  CHECK(error.code == ErrorCode::kUnsupported);
  CHECK(Says(error, "operator Gelu \"relu1\""));
  CHECK(Says(error, "supported are Add, AveragePool, BatchNormalization"));
  error = ErrorAfter(SmallFloat(),
                     [](OnnxModel& model) { OperatorOf(model, "Conv").domain = "com.microsoft"; });
  CHECK(error.code == ErrorCode::kUnsupported);
  CHECK(Says(error, "com.microsoft"));
}

TEST_CASE("ONNX: cycles, dangling names and names made twice are malformed") {
  Error error = ErrorAfter(SmallFloat(), [](OnnxModel& model) {
    OperatorOf(model, "Conv").inputs[0] = OperatorOf(model, "MaxPool").outputs[0];
  });
  CHECK(error.code == ErrorCode::kMalformed);
  CHECK(Says(error, "operator Conv \"conv1\""));
  error = ErrorAfter(SmallFloat(),
                     [](OnnxModel& model) { OperatorOf(model, "Relu").inputs[0] = "nowhere"; });
  CHECK(error.code == ErrorCode::kMalformed);
  CHECK(Says(error, "found \"nowhere\""));
  error = ErrorAfter(SmallFloat(), [](OnnxModel& model) {
    OperatorOf(model, "MaxPool").outputs[0] = OperatorOf(model, "Relu").outputs[0];
  });
  CHECK(error.code == ErrorCode::kMalformed);
  error = ErrorAfter(SmallFloat(), [](OnnxModel& model) { model.outputs[0].name = "input"; });
  CHECK(error.code == ErrorCode::kMalformed);
  error = ErrorAfter(SmallFloat(),
                     [](OnnxModel& model) { model.constants.push_back(model.constants.front()); });
  CHECK(error.code == ErrorCode::kMalformed);
}

TEST_CASE("ONNX: scales that are not positive and finite are refused") {
  for (const float scale : {std::numeric_limits<float>::quiet_NaN(), 0.0F, -1.0F,
                            std::numeric_limits<float>::infinity()}) {
    CAPTURE(scale);
    for (const char* name : {"input.scale", "conv1.weight.scale", "dense1.bias.scale"}) {
      const Error error = ErrorAfter(
          SmallInteger(), [&](OnnxModel& model) { SetFloat(ConstantOf(model, name), 0, scale); });
      const bool code = error.code == ErrorCode::kNotFinite || error.code == ErrorCode::kMalformed;
      CHECK(code);
      CHECK(Says(error, name));
    }
  }
}

TEST_CASE("ONNX: weights that are not finite are refused") {
  const Error error = ErrorAfter(SmallFloat(), [](OnnxModel& model) {
    SetFloat(ConstantOf(model, "dense1.weight"), 3, std::numeric_limits<float>::infinity());
  });
  CHECK(error.code == ErrorCode::kNotFinite);
  CHECK(Says(error, "dense1.weight"));
}

TEST_CASE("ONNX: a tensor whose extents do not match its bytes is malformed") {
  for (const std::vector<std::int64_t>& extents :
       {std::vector<std::int64_t>{4, 26}, {4, 28}, {1LL << 62, 1LL << 62}, {-1, 108}, {0, 27}}) {
    const Error error = ErrorAfter(SmallFloat(), [&](OnnxModel& model) {
      ConstantOf(model, "dense1.weight").extents = extents;
    });
    CHECK(error.code == ErrorCode::kMalformed);
    CHECK(Says(error, "dense1.weight"));
  }
  const Error error = ErrorAfter(SmallFloat(), [](OnnxModel& model) {
    ConstantOf(model, "dense1.weight").extents = {27, 4};
  });
  CHECK(error.code == ErrorCode::kShapeMismatch);
}

TEST_CASE("ONNX: empty weights and weights of the wrong rank are refused") {
  for (const std::vector<std::int64_t>& extents :
       {std::vector<std::int64_t>{0, 2, 3, 3}, {3, 0, 3, 3}, {}}) {
    const Error error = ErrorAfter(SmallFloat(), [&](OnnxModel& model) {
      Tensor& weight = ConstantOf(model, "conv1.weight");
      weight.extents = extents;
      weight.data.resize(extents.empty() ? 4 : 0);
    });
    CHECK(error.code == ErrorCode::kShapeMismatch);
  }
}

TEST_CASE("ONNX: enormous extents of the input and of windows are refused") {
  Error error = ErrorAfter(SmallFloat(), [](OnnxModel& model) {
    model.inputs[0].extents[2].value = std::int64_t{1} << 40;
  });
  CHECK(error.code == ErrorCode::kUnsupported);
  error = ErrorAfter(SmallFloat(), [](OnnxModel& model) {
    for (std::size_t i = 2; i < 4; ++i) model.inputs[0].extents[i].value = 1 << 20;
  });
  CHECK(error.code == ErrorCode::kLimitExceeded);
  for (const char* name : {"kernel_shape", "pads", "strides"}) {
    CAPTURE(name);
    error = ErrorAfter(SmallFloat(), [&](OnnxModel& model) {
      for (Attribute& attribute : OperatorOf(model, "MaxPool").attributes) {
        if (attribute.name == name)
          attribute.integers[0] = std::numeric_limits<std::int64_t>::max();
      }
    });
    CHECK(error.code == ErrorCode::kUnsupported);
  }
}

TEST_CASE("ONNX: windows that fl does not have are refused") {
  const auto with = [](std::string name, std::vector<std::int64_t> values) {
    return ErrorAfter(SmallFloat(), [&](OnnxModel& model) {
      std::vector<Attribute>& attributes = OperatorOf(model, "Conv").attributes;
      std::erase_if(attributes, [&](const Attribute& one) { return one.name == name; });
      Attribute changed;
      changed.name = name;
      changed.integers = std::move(values);
      attributes.push_back(changed);
    });
  };
  CHECK(Says(with("dilations", {2, 2}), "dilation"));
  CHECK(Says(with("strides", {1, 2}), "one stride"));
  CHECK(Says(with("pads", {2, 2, 2, 2}), "pads"));
  CHECK(Says(with("pads", {1, 1}), "4 values of \"pads\""));
}

TEST_CASE("ONNX: an int8 model with an activation in fp32 is refused") {
  const Error error = ErrorAfter(SmallInteger(), [](OnnxModel& model) {
    OperatorOf(model, "Gemm").inputs[1] = "dense1.weight";
  });
  CHECK(error.code == ErrorCode::kUnsupported);
  CHECK(Says(error, "dense1"));
}

TEST_CASE("ONNX: a weight of -128 is read as -127 and counted") {
  OnnxModel model = SmallInteger();
  ConstantOf(model, "conv1.weight").data[0] = std::byte{0x80};
  const nn::ModelFile file = Get(ImportOnnx(SerializeOnnx(model)));
  CHECK(std::get<nn::QuantizedModel>(file.model).nodes[1].weight[0] == -127);
  CHECK(file.notes.at("onnx.clamped") == "1");
}

// A model around one graph field of raw bytes.
Bytes Around(const ProtoWriter& graph) {
  ProtoWriter opset;
  opset.Number(2, 13);
  ProtoWriter model;
  model.Number(1, 8);
  model.Message(8, opset);
  model.Message(7, graph);
  return std::move(model).Take();
}

TEST_CASE("ONNX: data outside the file, subgraphs and sparse constants are not supported") {
  ProtoWriter tensor;
  tensor.Text(8, "weight");
  tensor.Number(2, 1);
  tensor.Number(14, 1);
  ProtoWriter outside;
  outside.Message(5, tensor);
  CHECK(CodeOf(ParseOnnx(Around(outside))) == ErrorCode::kUnsupported);

  ProtoWriter attribute;
  attribute.Text(1, "then_branch");
  attribute.Message(6, ProtoWriter());
  ProtoWriter node;
  node.Text(4, "If");
  node.Message(5, attribute);
  ProtoWriter branches;
  branches.Message(1, node);
  CHECK(CodeOf(ParseOnnx(Around(branches))) == ErrorCode::kUnsupported);

  ProtoWriter sparse;
  sparse.Message(15, ProtoWriter());
  CHECK(CodeOf(ParseOnnx(Around(sparse))) == ErrorCode::kUnsupported);
}

TEST_CASE("ONNX: lists are bounded at their limit") {
  OnnxLimits limits;
  limits.operators_max = 5;
  limits.constants_max = 4;
  const Bytes bytes = SerializeOnnx(SmallFloat());
  CHECK(CodeOf(ParseOnnx(bytes, limits)) == ErrorCode::kOk);
  limits.operators_max = 4;
  CHECK(CodeOf(ParseOnnx(bytes, limits)) == ErrorCode::kLimitExceeded);
  limits.operators_max = 6;
  limits.constants_max = 3;
  CHECK(CodeOf(ParseOnnx(bytes, limits)) == ErrorCode::kLimitExceeded);
  limits = {};
  limits.bytes_max = bytes.size();
  CHECK(CodeOf(ParseOnnx(bytes, limits)) == ErrorCode::kOk);
  limits.bytes_max = bytes.size() - 1;
  CHECK(CodeOf(ParseOnnx(bytes, limits)) == ErrorCode::kLimitExceeded);
}

TEST_CASE("ONNX: numbers may lie in typed lists instead of raw bytes") {
  ProtoWriter packed;
  for (const float value : {1.0F, -2.0F}) packed.Float(1, value);
  ProtoWriter floats;
  floats.Number(1, 2);
  floats.Number(2, 1);
  floats.Float(4, 1.0F);
  floats.Float(4, -2.0F);
  ProtoWriter integers;
  integers.Number(1, 3);
  integers.Number(2, 3);
  for (const std::uint64_t value : {std::uint64_t{5}, ~std::uint64_t{0}, std::uint64_t{127}})
    integers.Number(5, value);
  ProtoWriter graph;
  graph.Message(5, floats);
  graph.Message(5, integers);
  const OnnxModel model = Get(ParseOnnx(Around(graph)));
  REQUIRE(model.constants.size() == 2);
  CHECK(model.constants[0].count() == 2);
  CHECK(model.constants[1].data == Bytes{std::byte{5}, std::byte{0xFF}, std::byte{127}});
}

}  // namespace
}  // namespace fl::onnx
