#include "fl/common/nn/onnx/onnx_model.h"

#include <algorithm>
#include <array>

#include "fl/common/nn/onnx/internal/proto_wire.h"

namespace fl::onnx {
namespace {

using internal::ProtoWriter;

struct DataTypeEntry {
  DataType type;
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<DataTypeEntry, 9> kDataTypes = {{{DataType::kUndefined, "undefined", 0},
                                                      {DataType::kFloat, "float", 4},
                                                      {DataType::kUint8, "uint8", 1},
                                                      {DataType::kInt8, "int8", 1},
                                                      {DataType::kInt32, "int32", 4},
                                                      {DataType::kInt64, "int64", 8},
                                                      {DataType::kFloat16, "float16", 2},
                                                      {DataType::kDouble, "double", 8},
                                                      {DataType::kBfloat16, "bfloat16", 2}}};

// AttributeProto.AttributeType.
enum class AttributeType : std::uint8_t {
  kFloat = 1,
  kInt = 2,
  kString = 3,
  kTensor = 4,
  kFloats = 6,
  kInts = 7
};

ProtoWriter WriteTensor(const Tensor& tensor) {
  ProtoWriter to;
  for (const std::int64_t extent : tensor.extents) to.Number(1, static_cast<std::uint64_t>(extent));
  to.Number(2, static_cast<std::uint64_t>(tensor.type));
  if (!tensor.name.empty()) to.Text(8, tensor.name);
  to.Span(9, tensor.data);
  return to;
}

ProtoWriter WriteAttribute(const Attribute& attribute) {
  ProtoWriter to;
  to.Text(1, attribute.name);
  AttributeType type = AttributeType::kInts;
  if (attribute.number) {
    to.Float(2, *attribute.number);
    type = AttributeType::kFloat;
  } else if (attribute.integer) {
    to.Number(3, static_cast<std::uint64_t>(*attribute.integer));
    type = AttributeType::kInt;
  } else if (attribute.text) {
    to.Text(4, *attribute.text);
    type = AttributeType::kString;
  } else if (attribute.tensor) {
    to.Message(5, WriteTensor(*attribute.tensor));
    type = AttributeType::kTensor;
  } else if (!attribute.numbers.empty()) {
    for (const float number : attribute.numbers) to.Float(7, number);
    type = AttributeType::kFloats;
  }
  for (const std::int64_t integer : attribute.integers)
    to.Number(8, static_cast<std::uint64_t>(integer));
  to.Number(20, static_cast<std::uint64_t>(type));
  return to;
}

ProtoWriter WriteOperator(const Operator& node) {
  ProtoWriter to;
  for (const std::string& input : node.inputs) to.Text(1, input);
  for (const std::string& output : node.outputs) to.Text(2, output);
  if (!node.name.empty()) to.Text(3, node.name);
  to.Text(4, node.type);
  for (const Attribute& attribute : node.attributes) to.Message(5, WriteAttribute(attribute));
  if (!node.domain.empty()) to.Text(7, node.domain);
  return to;
}

ProtoWriter WriteValueInfo(const ValueInfo& info) {
  ProtoWriter shape;
  for (const Extent& extent : info.extents) {
    ProtoWriter one;
    if (extent.value) one.Number(1, static_cast<std::uint64_t>(*extent.value));
    if (!extent.name.empty()) one.Text(2, extent.name);
    shape.Message(1, one);
  }
  ProtoWriter tensor;
  tensor.Number(1, static_cast<std::uint64_t>(info.type));
  tensor.Message(2, shape);
  ProtoWriter type;
  type.Message(1, tensor);
  ProtoWriter to;
  to.Text(1, info.name);
  to.Message(2, type);
  return to;
}

}  // namespace

std::string_view DataTypeName(DataType type) {
  const auto found = std::ranges::find(kDataTypes, type, &DataTypeEntry::type);
  return found == kDataTypes.end() ? "unknown" : found->name;
}

std::size_t DataTypeBytes(DataType type) {
  const auto found = std::ranges::find(kDataTypes, type, &DataTypeEntry::type);
  return found == kDataTypes.end() ? 0 : found->bytes;
}

const Attribute* Operator::Find(std::string_view attribute) const {
  const auto found = std::ranges::find(attributes, attribute, &Attribute::name);
  return found == attributes.end() ? nullptr : &*found;
}

Bytes SerializeOnnx(const OnnxModel& model) {
  ProtoWriter graph;
  for (const Operator& node : model.operators) graph.Message(1, WriteOperator(node));
  graph.Text(2, model.name);
  for (const Tensor& tensor : model.constants) graph.Message(5, WriteTensor(tensor));
  for (const ValueInfo& input : model.inputs) graph.Message(11, WriteValueInfo(input));
  for (const ValueInfo& output : model.outputs) graph.Message(12, WriteValueInfo(output));
  ProtoWriter to;
  to.Number(1, static_cast<std::uint64_t>(model.ir_version));
  to.Text(2, model.producer);
  ProtoWriter opset;
  opset.Text(1, "");
  opset.Number(2, static_cast<std::uint64_t>(model.opset));
  to.Message(8, opset);
  to.Message(7, graph);
  for (const auto& [key, value] : model.metadata) {
    ProtoWriter entry;
    entry.Text(1, key);
    entry.Text(2, value);
    to.Message(14, entry);
  }
  return std::move(to).Take();
}

}  // namespace fl::onnx
