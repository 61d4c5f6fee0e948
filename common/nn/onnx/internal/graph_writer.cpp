#include "fl/common/nn/onnx/internal/graph_writer.h"

#include <algorithm>
#include <cmath>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/internal/forward.h"
#include "fl/common/nn/operator.h"

namespace fl::onnx::internal {
namespace {

using nn::Node;
using nn::OpKind;

constexpr std::int64_t kOpset = 13;
constexpr std::int64_t kOpsetHardSwish = 14;
constexpr std::int64_t kOpsetLayerNorm = 17;

Attribute Integer(std::string name, std::int64_t value) {
  Attribute attribute;
  attribute.name = std::move(name);
  attribute.integer = value;
  return attribute;
}

Attribute Integers(std::string name, std::vector<std::int64_t> values) {
  Attribute attribute;
  attribute.name = std::move(name);
  attribute.integers = std::move(values);
  return attribute;
}

Attribute Number(std::string name, float value) {
  Attribute attribute;
  attribute.name = std::move(name);
  attribute.number = value;
  return attribute;
}

std::int64_t Signed(std::size_t value) {
  return static_cast<std::int64_t>(value);
}

// The window's attributes: TensorFlow's `same` as explicit pads.
std::vector<Attribute> WindowAttributes(const Shape& input, const Node& node) {
  std::vector<std::int64_t> before;
  std::vector<std::int64_t> after;
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::size_t kernel = axis == 0 ? node.kernel_height : node.kernel_width;
    const std::size_t covered = (node.shape[axis] - 1) * node.stride + kernel;
    const std::size_t all = node.same_padding && covered > input[axis] ? covered - input[axis] : 0;
    const std::size_t first =
        nn::PaddingBefore(input[axis], node.shape[axis], kernel, node.stride, node.same_padding);
    before.push_back(Signed(first));
    after.push_back(Signed(all - first));
  }
  return {Integers("kernel_shape", {Signed(node.kernel_height), Signed(node.kernel_width)}),
          Integers("pads", {before[0], before[1], after[0], after[1]}),
          Integers("strides", {Signed(node.stride), Signed(node.stride)})};
}

bool IsClamp(OpKind kind) {
  return kind == OpKind::kRelu || kind == OpKind::kRelu6;
}

bool IsProduct(OpKind kind) {
  return nn::RulesOf(kind).quantize == nn::QuantizeRule::kMultiply;
}

// Value by value, so that the order of values does not matter.
bool IsElementwise(OpKind kind) {
  return IsClamp(kind) || nn::RulesOf(kind).quantize == nn::QuantizeRule::kLookup;
}

ValueInfo Describe(std::string name, const Shape& shape) {
  ValueInfo info;
  info.name = std::move(name);
  info.extents.push_back({.value = {}, .name = "N"});
  if (shape.rank() == 3) info.extents.push_back({.value = Signed(shape[2]), .name = ""});
  for (std::size_t i = 0; i < std::min<std::size_t>(shape.rank(), 2); ++i)
    info.extents.push_back({.value = Signed(shape[i]), .name = ""});
  return info;
}

}  // namespace

GraphWriter::GraphWriter(const nn::Graph& graph, std::span<const float> parameters,
                         const nn::QuantizedModel* quantized)
    : graph_(graph),
      parameters_(parameters),
      quantized_(quantized),
      values_(graph.nodes.size()),
      readers_(graph.nodes.size()),
      needed_(graph.nodes.size()),
      any_order_(graph.nodes.size()) {}

Result<OnnxModel> GraphWriter::Write() {
  FindReaders();
  to_.producer = "fl";
  to_.name = "fl";
  to_.opset = kOpset;
  to_.inputs = {Describe("input", graph_.input_shape())};
  to_.outputs = {Describe("output", graph_.output_shape())};
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (needed_[i]) FL_TRY_OK(WriteNode(i));
  }
  to_.operators.back().outputs[0] = "output";
  return std::move(to_);
}

// From the output back to the input.
void GraphWriter::FindReaders() {
  needed_.back() = true;
  for (std::size_t i = graph_.nodes.size(); i-- > 0;) {
    if (!needed_[i]) continue;
    for (const std::size_t input : graph_.nodes[i].inputs) {
      needed_[input] = true;
      readers_[input].push_back(i);
    }
    any_order_[i] = !IsOutput(i) && graph_.nodes[i].shape.rank() == 1 &&
                    std::ranges::all_of(readers_[i], [&](std::size_t reader) {
                      const OpKind kind = graph_.nodes[reader].kind;
                      return kind == OpKind::kDense || (IsElementwise(kind) && any_order_[reader]);
                    });
  }
}

// A product leaves its pair to the ReLU after it; the last product yields fp32.
bool GraphWriter::HasPair(std::size_t i) const {
  if (quantized_ == nullptr) return false;
  const OpKind kind = graph_.nodes[i].kind;
  if (IsOutput(i)) return kind != OpKind::kDense && kind != OpKind::kConv2d;
  const std::vector<std::size_t>& readers = readers_[i];
  const bool fused = readers.size() == 1 && IsClamp(graph_.nodes[readers[0]].kind) && i > 0 &&
                     nn::RulesOf(kind).quantize != nn::QuantizeRule::kCommutes &&
                     quantized_->activations[i].zero_point == -128;
  return !fused;
}

Result<> GraphWriter::WriteNode(std::size_t i) {
  const Node& node = graph_.nodes[i];
  if (quantized_ != nullptr) {
    if (node.kind == OpKind::kMultiply && node.inputs.size() > 2) {
      return Error{
          ErrorCode::kUnsupported,
          "ONNX: node " + node.name + ": expected two operands in an int8 model, found more"};
    }
    for (const float scale : quantized_->nodes[i].weight_scale) {
      if (std::isnormal(quantized_->activations[node.inputs[0]].scale * scale)) continue;
      return Error{ErrorCode::kUnsupported,
                   "ONNX: node " + node.name +
                       ": expected scales of input and weight whose product is a normal number"};
    }
  }
  std::string value = "input";
  if (i > 0) {
    if (!node.parameters.empty()) {
      value = IsProduct(node.kind) ? WriteProduct(i) : WriteNorm(i);
    } else if (node.kernel_height > 0 || node.kind == OpKind::kGlobalAvgPool) {
      value = WritePool(i);
    } else if (IsElementwise(node.kind)) {
      value = WriteActivation(i);
    } else if (node.kind == OpKind::kFlatten || node.kind == OpKind::kReshape) {
      value = WriteView(i);
    } else {
      value = WriteCombination(i);
    }
  }
  values_[i].name = HasPair(i) ? AddPair(i, node.name, value) : value;
  return {};
}

std::string GraphWriter::WriteProduct(std::size_t i) {
  const Node& node = graph_.nodes[i];
  const Value& input = values_[node.inputs[0]];
  const WeightExtents extents = ExtentsOf(graph_, node, input.flattened);
  std::vector<std::string> inputs = {input.name, WriteWeight(i, extents), WriteBias(i)};
  if (node.kind == OpKind::kDense)
    return Add("Gemm", node.name, std::move(inputs), {Integer("transB", 1)});
  std::vector<Attribute> attributes = WindowAttributes(graph_.nodes[node.inputs[0]].shape, node);
  const std::size_t groups = node.kind == OpKind::kDepthwise ? node.shape[2] : node.groups;
  attributes.push_back(Integer("group", Signed(groups)));
  return Add("Conv", node.name, std::move(inputs), std::move(attributes));
}

std::string GraphWriter::WriteWeight(std::size_t i, const WeightExtents& extents) {
  const Node& node = graph_.nodes[i];
  std::vector<std::int64_t> shape = {Signed(extents.outputs), Signed(extents.inputs),
                                     Signed(extents.height), Signed(extents.width)};
  if (node.kind == OpKind::kDense)
    shape = {Signed(extents.outputs), Signed(extents.count() / extents.outputs)};
  const std::string name = node.name + ".weight";
  if (quantized_ == nullptr) {
    const std::span<const float> from =
        parameters_.subspan(graph_.parameters.offset(node.parameters[0]), extents.count());
    const std::vector<float> weight = ToOnnxOrder(from, extents, OutputChannel::kLast);
    return AddConstant<float>(name, DataType::kFloat, std::move(shape), weight);
  }
  const nn::QuantizedNode& from = quantized_->nodes[i];
  const std::vector<std::int8_t> weight =
      ToOnnxOrder<std::int8_t>(from.weight, extents, OutputChannel::kFirst);
  const std::vector<std::int8_t> zeros(extents.outputs);
  const std::vector<std::int64_t> channels = {Signed(extents.outputs)};
  return Add("DequantizeLinear", name + ".dequantize",
             {AddConstant<std::int8_t>(name, DataType::kInt8, std::move(shape), weight),
              AddConstant<float>(name + ".scale", DataType::kFloat, channels, from.weight_scale),
              AddConstant<std::int8_t>(name + ".zero_point", DataType::kInt8, channels, zeros)},
             {Integer("axis", 0)});
}

std::string GraphWriter::WriteBias(std::size_t i) {
  const Node& node = graph_.nodes[i];
  if (quantized_ == nullptr) return AddParameter(i, 1);
  const nn::QuantizedNode& from = quantized_->nodes[i];
  const std::string name = node.name + ".bias";
  const float input_scale = quantized_->activations[node.inputs[0]].scale;
  std::vector<float> scales;
  scales.reserve(from.weight_scale.size());
  for (const float scale : from.weight_scale) scales.push_back(input_scale * scale);
  const std::vector<std::int64_t> channels = {Signed(from.bias.size())};
  return Add("DequantizeLinear", name + ".dequantize",
             {AddConstant<std::int32_t>(name, DataType::kInt32, channels, from.bias),
              AddConstant<float>(name + ".scale", DataType::kFloat, channels, scales)},
             {Integer("axis", 0)});
}

std::string GraphWriter::WritePool(std::size_t i) {
  const Node& node = graph_.nodes[i];
  const std::string& input = values_[node.inputs[0]].name;
  if (node.kind != OpKind::kGlobalAvgPool) {
    return Add(*nn::RulesOf(node.kind).onnx, node.name, {input},
               WindowAttributes(graph_.nodes[node.inputs[0]].shape, node));
  }
  std::string pooled = Add("GlobalAveragePool", node.name, {input});
  if (quantized_ != nullptr) pooled = AddPair(i, node.name + ".pooled", pooled);
  return Add("Flatten", node.name + ".flat", {pooled}, {Integer("axis", 1)});
}

// A layer norm goes over the last extent, which of an image are its channels.
std::string GraphWriter::WriteNorm(std::size_t i) {
  const Node& node = graph_.nodes[i];
  std::string input = values_[node.inputs[0]].name;
  std::vector<std::string> inputs = {input};
  if (node.kind == OpKind::kBatchNorm) {
    for (std::size_t which = 0; which < 4; ++which) inputs.push_back(AddParameter(i, which));
    return Add("BatchNormalization", node.name, std::move(inputs),
               {Number("epsilon", nn::kNormEpsilon)});
  }
  to_.opset = std::max(to_.opset, kOpsetLayerNorm);
  const bool image = node.shape.rank() == 3;
  if (image) inputs[0] = AddTranspose(node.name + ".last", node.inputs[0], input);
  for (std::size_t which = 0; which < 2; ++which) inputs.push_back(AddParameter(i, which));
  std::string value = Add("LayerNormalization", node.name, std::move(inputs),
                          {Integer("axis", -1), Number("epsilon", nn::kNormEpsilon)});
  if (!image) return value;
  return Add("Transpose", node.name + ".first", {value}, {Integers("perm", {0, 3, 1, 2})});
}

std::string GraphWriter::WriteActivation(std::size_t i) {
  const Node& node = graph_.nodes[i];
  const Value& input = values_[node.inputs[0]];
  values_[i].flattened = input.flattened;
  std::vector<std::string> inputs = {input.name};
  if (node.kind == OpKind::kRelu6) {
    inputs.push_back(AddScalar(node.name + ".low", 0));
    inputs.push_back(AddScalar(node.name + ".high", 6));
  }
  if (node.kind == OpKind::kHardSwish) to_.opset = std::max(to_.opset, kOpsetHardSwish);
  return Add(*nn::RulesOf(node.kind).onnx, node.name, std::move(inputs));
}

// Add and Mul take two operands; Sum as many as there are. A product of more is one of products.
std::string GraphWriter::WriteCombination(std::size_t i) {
  const Node& node = graph_.nodes[i];
  std::vector<std::string> inputs;
  for (const std::size_t operand : node.inputs) {
    inputs.push_back(values_[operand].name);
    // One factor for each channel of an image.
    if (node.shape.rank() == 3 && graph_.nodes[operand].shape.rank() == 1) {
      const std::string name = node.name + ".factor" + std::to_string(inputs.size());
      inputs.back() =
          AddMove("Reshape", name, operand,
                  {inputs.back(), AddExtents(name + ".shape", {0, Signed(node.shape[2]), 1, 1})});
    }
  }
  if (node.kind == OpKind::kConcat)
    return Add("Concat", node.name, std::move(inputs), {Integer("axis", 1)});
  if (node.kind == OpKind::kAdd)
    return Add(inputs.size() > 2 ? "Sum" : "Add", node.name, std::move(inputs));
  std::string product = inputs[0];
  for (std::size_t k = 1; k < inputs.size(); ++k) {
    const bool last = k + 1 == inputs.size();
    product = Add("Mul", last ? node.name : node.name + ".factors" + std::to_string(k + 1),
                  {product, inputs[k]});
  }
  return product;
}

std::string GraphWriter::WriteView(std::size_t i) {
  const Node& node = graph_.nodes[i];
  const std::size_t from = node.inputs[0];
  const Shape& shape = graph_.nodes[from].shape;
  std::string input = values_[from].name;
  if (node.shape.rank() == 1) {
    const bool moves = shape.rank() == 3 && shape[2] > 1 && shape[0] * shape[1] > 1;
    if (moves && any_order_[i]) values_[i].flattened = shape;
    if (moves && !any_order_[i]) input = AddTranspose(node.name + ".last", from, input);
    return Add("Flatten", node.name, {input}, {Integer("axis", 1)});
  }
  if (shape.rank() == 3) input = AddTranspose(node.name + ".last", from, input);
  input = AddMove(
      "Reshape", node.name, from,
      {input, AddExtents(node.name + ".shape", {0, Signed(node.shape[0]), Signed(node.shape[1]),
                                                Signed(node.shape[2])})});
  return Add("Transpose", node.name + ".first", {input}, {Integers("perm", {0, 3, 1, 2})});
}

std::string GraphWriter::Add(std::string_view type, const std::string& name,
                             std::vector<std::string> inputs, std::vector<Attribute> attributes) {
  std::string output = name + ".out";
  Operator added;
  added.name = name;
  added.type = type;
  added.inputs = std::move(inputs);
  added.outputs = {output};
  added.attributes = std::move(attributes);
  to_.operators.push_back(std::move(added));
  return output;
}

std::string GraphWriter::AddMove(std::string_view type, const std::string& name,
                                 std::size_t scale_of, std::vector<std::string> inputs,
                                 std::vector<Attribute> attributes) {
  const std::string moved = Add(type, name, std::move(inputs), std::move(attributes));
  return quantized_ == nullptr ? moved : AddPair(scale_of, name + ".moved", moved);
}

std::string GraphWriter::AddPair(std::size_t scale_of, const std::string& name,
                                 const std::string& value) {
  const nn::ActivationScale& scale = quantized_->activations[scale_of];
  // As uint8: of int8, ONNX Runtime converts a pair only where one operator reads it, and fuses no
  // operator whose input and output then differ.
  const auto zero_point = static_cast<std::uint8_t>(scale.zero_point + 128);
  const std::string scale_name = AddScalar(name + ".scale", scale.scale);
  const std::string zero_name = AddConstant<std::uint8_t>(name + ".zero_point", DataType::kUint8,
                                                          {}, std::span(&zero_point, 1));
  const std::string quantized =
      Add("QuantizeLinear", name + ".quantize", {value, scale_name, zero_name});
  return Add("DequantizeLinear", name + ".dequantize", {quantized, scale_name, zero_name});
}

std::string GraphWriter::AddTranspose(const std::string& name, std::size_t scale_of,
                                      const std::string& value) {
  return AddMove("Transpose", name, scale_of, {value}, {Integers("perm", {0, 2, 3, 1})});
}

template <typename T>
std::string GraphWriter::AddConstant(const std::string& name, DataType type,
                                     std::vector<std::int64_t> extents, std::span<const T> values) {
  const ByteSpan bytes = std::as_bytes(values);
  to_.constants.push_back({.name = name,
                           .type = type,
                           .extents = std::move(extents),
                           .data = Bytes(bytes.begin(), bytes.end())});
  return name;
}

std::string GraphWriter::AddParameter(std::size_t i, std::size_t which) {
  const std::size_t tensor = graph_.nodes[i].parameters[which];
  const std::string& name = graph_.parameters[tensor].name;
  const std::size_t count = graph_.parameters[tensor].shape.count();
  std::span<const float> values;
  if (quantized_ == nullptr) {
    values = parameters_.subspan(graph_.parameters.offset(tensor), count);
  } else {  // Of a layer norm.
    values = which == 0 ? quantized_->nodes[i].gamma : quantized_->nodes[i].beta;
  }
  return AddConstant<float>(name, DataType::kFloat, {Signed(count)}, values);
}

std::string GraphWriter::AddScalar(const std::string& name, float value) {
  return AddConstant<float>(name, DataType::kFloat, {}, std::span(&value, 1));
}

std::string GraphWriter::AddExtents(const std::string& name, std::vector<std::int64_t> extents) {
  return AddConstant<std::int64_t>(name, DataType::kInt64, {Signed(extents.size())}, extents);
}

}  // namespace fl::onnx::internal
