#include "fl/common/nn/onnx/internal/import_graph.h"

#include <algorithm>

namespace fl::onnx::internal {
namespace {

constexpr std::int64_t kExtentMax = std::int64_t{1} << 20;
constexpr std::uint64_t kValuesMax = std::uint64_t{1} << 28;

Error Malformed(std::string message) {
  return {ErrorCode::kMalformed, "ONNX: " + std::move(message)};
}

Error Unsupported(std::string message) {
  return {ErrorCode::kUnsupported, "ONNX: " + std::move(message)};
}

bool IsSmall(const Shape& shape) {
  std::uint64_t count = 1;
  for (const std::size_t extent : shape.extents()) {
    if (extent == 0 || extent > kValuesMax) return false;
    count *= extent;
    if (count > kValuesMax) return false;
  }
  return true;
}

}  // namespace

Error OperatorError(ErrorCode code, const Operator& node, std::string message) {
  return {code, "ONNX: operator " + node.type.substr(0, 64) + " \"" + node.name.substr(0, 64) +
                    "\": " + std::move(message)};
}

std::int64_t IntegerOr(const Operator& node, std::string_view name, std::int64_t fallback) {
  const Attribute* attribute = node.Find(name);
  return attribute != nullptr ? attribute->integer.value_or(fallback) : fallback;
}

float NumberOr(const Operator& node, std::string_view name, float fallback) {
  const Attribute* attribute = node.Find(name);
  return attribute != nullptr ? attribute->number.value_or(fallback) : fallback;
}

// In alphabetical order.
const std::vector<GraphReader::Entry>& GraphReader::Entries() {
  static const std::vector<Entry> entries = {
      {"Add", &GraphReader::ReadAdd},
      {"AveragePool", &GraphReader::ReadPool},
      {"BatchNormalization", &GraphReader::ReadBatchNorm},
      {"Clip", &GraphReader::ReadClip},
      {"Concat", &GraphReader::ReadConcat},
      {"Constant", &GraphReader::ReadConstant},
      {"Conv", &GraphReader::ReadConv},
      {"DequantizeLinear", &GraphReader::ReadDequantize},
      {"Dropout", &GraphReader::ReadIdentity},
      {"Flatten", &GraphReader::ReadFlatten},
      {"Gemm", &GraphReader::ReadGemm},
      {"GlobalAveragePool", &GraphReader::ReadGlobalPool},
      {"HardSwish", &GraphReader::ReadActivation},
      {"Identity", &GraphReader::ReadIdentity},
      {"LayerNormalization", &GraphReader::ReadLayerNorm},
      {"MatMul", &GraphReader::ReadMatMul},
      {"MaxPool", &GraphReader::ReadPool},
      {"Mul", &GraphReader::ReadMultiply},
      {"QuantizeLinear", &GraphReader::ReadQuantize},
      {"ReduceMean", &GraphReader::ReadGlobalPool},
      {"Relu", &GraphReader::ReadActivation},
      {"Reshape", &GraphReader::ReadReshape},
      {"Sigmoid", &GraphReader::ReadActivation},
      {"Squeeze", &GraphReader::ReadSqueeze},
      {"Sum", &GraphReader::ReadAdd},
      {"Tanh", &GraphReader::ReadActivation},
      {"Transpose", &GraphReader::ReadTranspose},
      {"Unsqueeze", &GraphReader::ReadSqueeze},
  };
  return entries;
}

std::string GraphReader::SupportedOperators() {
  std::string list;
  for (const Entry& entry : Entries()) list += (list.empty() ? "" : ", ") + std::string(entry.type);
  return list;
}

Result<ImportedLayers> GraphReader::Read() {
  FL_TRY_OK(ReadConstants());
  FL_TRY_OK(ReadInput());
  FL_TRY(const std::vector<bool> needed, FindNeeded());
  for (std::size_t i = 0; i < needed.size(); ++i) {
    if (!needed[i]) continue;
    for (const std::string& input : model_.operators[i].inputs) ++reads_[input];
  }
  integer_ = QuantizesActivations(needed);
  for (std::size_t i = 0; i < needed.size(); ++i) {
    if (needed[i]) FL_TRY_OK(ReadOperator(model_.operators[i]));
  }
  FL_TRY_OK(ExpectOutput());
  return std::move(layers_);
}

// Whether a QuantizeLinear reads what other operators compute.
bool GraphReader::QuantizesActivations(const std::vector<bool>& needed) const {
  std::set<std::string> constants;
  for (const Operator& node : model_.operators) {
    if (node.type == "Constant") constants.insert(node.outputs.begin(), node.outputs.end());
  }
  for (std::size_t i = 0; i < needed.size(); ++i) {
    const Operator& node = model_.operators[i];
    if (!needed[i] || node.type != "QuantizeLinear" || node.inputs.empty()) continue;
    const auto known = values_.find(node.inputs[0]);
    const bool constant = known != values_.end() && std::holds_alternative<Constant>(known->second);
    if (!constant && !constants.contains(node.inputs[0])) return true;
  }
  return false;
}

Result<> GraphReader::ReadConstants() {
  for (const Tensor& tensor : model_.constants) {
    if (!values_.emplace(tensor.name, Constant{&tensor, {}}).second)
      return Malformed("expected one constant \"" + tensor.name + "\", found two");
  }
  return {};
}

// The one input that is no constant (old files list their constants, too).
Result<> GraphReader::ReadInput() {
  const ValueInfo* input = nullptr;
  for (const ValueInfo& info : model_.inputs) {
    if (values_.contains(info.name)) continue;
    if (input != nullptr) {
      return Unsupported("expected one input, found \"" + input->name + "\" and \"" + info.name +
                         "\"");
    }
    input = &info;
  }
  if (input == nullptr) return Malformed("expected an input, found none");
  const std::size_t rank = input->extents.size();
  bool fits = (rank == 2 || rank == 4) && input->type == DataType::kFloat;
  for (std::size_t i = 1; i < rank; ++i) {
    const std::int64_t extent = input->extents[i].value.value_or(0);
    fits = fits && extent >= 1 && extent <= kExtentMax;
  }
  if (!fits) {
    return Unsupported("input \"" + input->name +
                       "\": expected float, N x features or N x channels x height x width with "
                       "known extents in [1, 2^20] after the first");
  }
  batch_ = input->extents[0].value.value_or(-1);
  const auto extent = [&](std::size_t i) {
    return static_cast<std::size_t>(*input->extents[i].value);
  };
  const Shape shape = rank == 2 ? Shape{extent(1)} : Shape{extent(2), extent(3), extent(1)};
  if (!IsSmall(shape)) {
    return Error{ErrorCode::kLimitExceeded,
                 "ONNX: input \"" + input->name + "\": expected at most " +
                     std::to_string(kValuesMax) + " values, found " + shape.ToText()};
  }
  layers_ = ImportedLayers(shape);
  values_[input->name] = Activation{.layer = 0,
                                    .order = rank == 2 ? Order::kFlat : Order::kChannelsFirst,
                                    .flattened = {},
                                    .integer = false};
  return {};
}

// The operators that the output depends on. ONNX lists each after those that it reads.
Result<std::vector<bool>> GraphReader::FindNeeded() const {
  if (model_.outputs.size() != 1) {
    return Unsupported("expected one output, found " + std::to_string(model_.outputs.size()));
  }
  std::set<std::string> made;
  for (const Operator& node : model_.operators) {
    for (const std::string& output : node.outputs) {
      if (output.empty()) continue;
      if (values_.contains(output) || !made.insert(output).second)
        return Malformed("expected one operator that makes \"" + output.substr(0, 64) +
                         "\", found two");
    }
  }
  std::set<std::string> wanted = {model_.outputs[0].name};
  std::vector<bool> needed(model_.operators.size());
  for (std::size_t i = needed.size(); i-- > 0;) {
    const Operator& node = model_.operators[i];
    needed[i] = std::ranges::any_of(
        node.outputs, [&](const std::string& output) { return wanted.contains(output); });
    if (needed[i]) wanted.insert(node.inputs.begin(), node.inputs.end());
  }
  return needed;
}

Result<> GraphReader::ReadOperator(const Operator& node) {
  const bool ours = node.domain.empty() || node.domain == "ai.onnx";
  const auto entry = std::ranges::find(Entries(), node.type, &Entry::type);
  if (!ours || entry == Entries().end()) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         (ours ? "not supported"
                               : "of domain \"" + node.domain.substr(0, 64) + "\": not supported") +
                             std::string("; supported are ") + SupportedOperators());
  }
  if (node.outputs.empty() || node.outputs[0].empty())
    return OperatorError(ErrorCode::kMalformed, node, "expected an output, found none");
  return (this->*entry->handler)(node);
}

// An image in ONNX's order, or plain features, from the last layer.
Result<> GraphReader::ExpectOutput() {
  const std::string& name = model_.outputs[0].name;
  const auto found = values_.find(name);
  const Activation* value =
      found == values_.end() ? nullptr : std::get_if<Activation>(&found->second);
  if (value == nullptr || value->layer == 0) {
    return Malformed("output \"" + name.substr(0, 64) +
                     "\": expected a value that the operators make from the input");
  }
  const bool order = value->order == Order::kFlat || value->order == Order::kChannelsFirst;
  if (order && value->flattened.rank() == 0 && !value->integer &&
      value->layer + 1 == layers_.size()) {
    return {};
  }
  return Unsupported("output \"" + name.substr(0, 64) +
                     "\": expected the last layer's values, as floats, N x features or N x "
                     "channels x height x width");
}

bool GraphReader::Has(const Operator& node, std::size_t input) const {
  return input < node.inputs.size() && !node.inputs[input].empty();
}

Result<const GraphReader::Value*> GraphReader::ValueAt(const Operator& node,
                                                       std::size_t input) const {
  if (!Has(node, input)) {
    return OperatorError(ErrorCode::kMalformed, node,
                         "expected an input " + std::to_string(input + 1) + ", found none");
  }
  const auto found = values_.find(node.inputs[input]);
  if (found != values_.end()) return &found->second;
  return OperatorError(ErrorCode::kMalformed, node,
                       "expected an input that an earlier operator makes, found \"" +
                           node.inputs[input].substr(0, 64) + "\"");
}

Result<Activation> GraphReader::ActivationAt(const Operator& node, std::size_t input) const {
  FL_TRY(const Value* value, ValueAt(node, input));
  const auto* activation = std::get_if<Activation>(value);
  if (activation != nullptr && !activation->integer) return *activation;
  return OperatorError(ErrorCode::kUnsupported, node,
                       "input " + std::to_string(input + 1) +
                           (activation == nullptr ? ": expected an activation, found a constant"
                                                  : ": expected floats, found integers"));
}

// N x channels x height x width. A reshape to one channel may be read in either order.
Result<Activation> GraphReader::ImageAt(const Operator& node, std::size_t input) {
  FL_TRY(Activation value, ActivationAt(node, input));
  ImportedLayer& layer = layers_[value.layer];
  if (value.order == Order::kChannelsLast && layer.kind == nn::OpKind::kReshape &&
      layer.shape[0] == 1 && value.layer + 1 == layers_.size()) {
    layer.shape = Shape{layer.shape[1], layer.shape[2], 1};
    layer.words = " " + layer.shape.ToText();
    value.order = Order::kChannelsFirst;
    values_[node.inputs[input]] = value;
  }
  if (value.order == Order::kChannelsFirst) return value;
  return OperatorError(
      ErrorCode::kUnsupported, node,
      "input " + std::to_string(input + 1) + ": expected an image N x channels x height x width");
}

Result<Constant> GraphReader::ConstantAt(const Operator& node, std::size_t input) const {
  FL_TRY(const Value* value, ValueAt(node, input));
  if (const auto* constant = std::get_if<Constant>(value)) return *constant;
  return OperatorError(ErrorCode::kUnsupported, node,
                       "input " + std::to_string(input + 1) +
                           ": expected a constant, found what other operators compute");
}

Result<const Tensor*> GraphReader::TensorAt(const Operator& node, std::size_t input) const {
  FL_TRY(const Constant constant, ConstantAt(node, input));
  if (!constant.dequantized()) return constant.tensor;
  return OperatorError(
      ErrorCode::kUnsupported, node,
      "input " + std::to_string(input + 1) + ": expected a constant without DequantizeLinear");
}

Result<std::vector<float>> GraphReader::FloatsAt(const Operator& node, std::size_t input,
                                                 std::size_t count) const {
  FL_TRY(const Constant constant, ConstantAt(node, input));
  FL_TRY(std::vector<float> values, constant.dequantized()
                                        ? Dequantized(*constant.tensor, constant.quantization)
                                        : FloatsOf(*constant.tensor));
  if (values.size() == count) return values;
  return OperatorError(ErrorCode::kShapeMismatch, node,
                       "input " + std::to_string(input + 1) + ": expected " +
                           std::to_string(count) + " values, found " +
                           std::to_string(values.size()));
}

// From an input, or in older versions of the operators from an attribute; empty where neither is.
Result<std::vector<std::int64_t>> GraphReader::IntegersAt(const Operator& node, std::size_t input,
                                                          std::string_view attribute) const {
  if (Has(node, input)) {
    FL_TRY(const Tensor* tensor, TensorAt(node, input));
    return IntegersOf(*tensor);
  }
  const Attribute* found = node.Find(attribute);
  return found != nullptr ? found->integers : std::vector<std::int64_t>{};
}

ImportedLayer GraphReader::LayerOf(const Operator& node, nn::OpKind kind, std::size_t input) const {
  ImportedLayer layer;
  layer.name = node.name;
  layer.kind = kind;
  layer.inputs = {input};
  layer.shape = layers_[input].shape;
  return layer;
}

Result<> GraphReader::Define(const Operator& node, ImportedLayer layer, Order order,
                             Shape flattened) {
  if (!IsSmall(layer.shape)) {
    return OperatorError(ErrorCode::kLimitExceeded, node,
                         "expected between 1 and 2^28 values, found " + layer.shape.ToText());
  }
  const std::size_t index = layers_.Add(std::move(layer));
  return DefineValue(
      node,
      Activation{
          .layer = index, .order = order, .flattened = std::move(flattened), .integer = false});
}

Result<> GraphReader::DefineValue(const Operator& node, Value value) {
  values_[node.outputs[0]] = std::move(value);
  return {};
}

}  // namespace fl::onnx::internal
