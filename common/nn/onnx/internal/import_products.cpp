// Operators with weights: convolutions, dense layers, norms; and the two of QDQ.
#include <algorithm>
#include <cmath>

#include "fl/common/nn/internal/forward.h"
#include "fl/common/nn/onnx/internal/import_graph.h"
#include "fl/common/nn/onnx/internal/import_window.h"

namespace fl::onnx::internal {
namespace {

using nn::OpKind;

// A bias's own scale may differ from input scale * weight scale by rounding only, to be taken as
// it is.
constexpr float kBiasScaleTolerance = 1e-5F;

std::vector<std::size_t> ExtentsOf(const Tensor& tensor) {
  return {tensor.extents.begin(), tensor.extents.end()};
}

// inputs x outputs to outputs x inputs.
template <typename T>
std::vector<T> Transposed(const std::vector<T>& matrix, std::size_t outputs) {
  const std::size_t inputs = matrix.size() / outputs;
  std::vector<T> to(matrix.size());
  for (std::size_t o = 0; o < outputs; ++o) {
    for (std::size_t i = 0; i < inputs; ++i) to[o * inputs + i] = matrix[i * outputs + o];
  }
  return to;
}

}  // namespace

// The file's weight as fl has it, in fp32 or, where the input is quantized, in int8.
Result<> GraphReader::SetWeight(const Product& product, ImportedLayer& layer) {
  FL_TRY(const Constant weight, ConstantAt(product.node, 1));
  const std::size_t outputs = product.extents.outputs;
  if (weight.tensor->count() == 0 || outputs == 0) {
    return OperatorError(ErrorCode::kShapeMismatch, product.node, "expected a weight with values");
  }
  if (integer_) return SetIntegerWeight(product, weight, layer);
  FL_TRY(std::vector<float> values, FloatsAt(product.node, 1, weight.tensor->count()));
  if (product.output_axis == 1) values = Transposed(values, outputs);
  layer.parameters[".weight"] = FromOnnxOrder<float>(values, product.extents, OutputChannel::kLast);
  layer.parameters[".bias"].assign(outputs, 0);
  return product.bias ? SetBias(product.node, *product.bias, layer) : Result<>();
}

Result<> GraphReader::SetIntegerWeight(const Product& product, const Constant& weight,
                                       ImportedLayer& layer) {
  const std::size_t outputs = product.extents.outputs;
  const bool known = weight.dequantized() && layers_[product.input].scale;
  const bool symmetric = known && std::ranges::all_of(weight.quantization.zero_point,
                                                      [](std::int32_t zero) { return zero == 0; });
  if (!symmetric || weight.tensor->type == DataType::kInt32 ||
      (weight.quantization.scale.size() != 1 &&
       (weight.quantization.scale.size() != outputs ||
        weight.quantization.axis != product.output_axis))) {
    return OperatorError(ErrorCode::kUnsupported, product.node,
                         "expected in an int8 model a quantized input and a weight of int8 behind "
                         "DequantizeLinear with zero point 0 and one scale, or one for each output "
                         "channel");
  }
  FL_TRY(const std::vector<std::int32_t> integers, QuantizedOf(*weight.tensor));
  std::vector<std::int8_t> values;
  for (const std::int32_t value : integers) {
    clamped_ += value == -128 ? 1 : 0;
    values.push_back(static_cast<std::int8_t>(std::max(value, -127)));
  }
  if (product.output_axis == 1) values = Transposed(values, outputs);
  layer.quantized.weight =
      FromOnnxOrder<std::int8_t>(values, product.extents, OutputChannel::kFirst);
  layer.quantized.weight_scale = weight.quantization.scale;
  layer.quantized.weight_scale.resize(outputs, weight.quantization.scale[0]);
  layer.quantized.bias.assign(outputs, 0);
  for (const float scale : layer.quantized.weight_scale) {
    if (std::isnormal(layers_[product.input].scale->scale * scale)) continue;
    return OperatorError(ErrorCode::kUnsupported, product.node,
                         "expected scales whose product with the input's scale is a normal number");
  }
  return product.bias ? SetBias(product.node, *product.bias, layer) : Result<>();
}

// Integers of scale input scale * weight scale are kept, other numbers rounded to them.
Result<> GraphReader::SetBias(const Operator& node, std::size_t input, ImportedLayer& layer) {
  const std::size_t outputs = layer.shape[layer.shape.rank() - 1];
  FL_TRY(const std::vector<float> values, FloatsAt(node, input, outputs));
  if (!integer_) {
    layer.parameters[".bias"] = values;
    return {};
  }
  FL_TRY(const Constant bias, ConstantAt(node, input));
  std::vector<std::int32_t> integers;
  if (bias.dequantized()) {
    FL_TRY(integers, QuantizedOf(*bias.tensor));
  }
  const float input_scale = layers_[layer.inputs[0]].scale->scale;
  for (std::size_t c = 0; c < outputs; ++c) {
    const float unit = input_scale * layer.quantized.weight_scale[c];
    if (bias.dequantized()) {
      const std::size_t at = bias.quantization.scale.size() == 1 ? 0 : c;
      const float own = bias.quantization.scale[at];
      if (bias.quantization.zero_point[at] == 0 &&
          std::abs(own - unit) <= kBiasScaleTolerance * unit) {
        layer.quantized.bias[c] = integers[c];
        continue;
      }
    }
    const double rounded =
        std::nearbyint(static_cast<double>(values[c]) / static_cast<double>(unit));
    if (!(std::abs(rounded) <= 1 << 30)) {
      return OperatorError(ErrorCode::kUnsupported, node,
                           "expected a bias within 2^30 units of input scale * weight scale");
    }
    layer.quantized.bias[c] = static_cast<std::int32_t>(rounded);
  }
  return {};
}

Result<> GraphReader::ReadConv(const Operator& node) {
  FL_TRY(const Constant weight, ConstantAt(node, 1));
  const std::vector<std::size_t> extents = ExtentsOf(*weight.tensor);
  const auto groups =
      static_cast<std::size_t>(std::max<std::int64_t>(IntegerOr(node, "group", 1), 0));
  FL_TRY(const Activation any, ActivationAt(node, 0));
  const Shape seen = ShapeOf(any);
  const bool pixel = any.order == Order::kOnePixel;
  if (extents.size() != 4 || weight.tensor->count() == 0 ||
      extents[1] * groups != seen[seen.rank() - 1] || extents[0] % groups != 0) {
    return OperatorError(ErrorCode::kShapeMismatch, node,
                         "expected a weight outputs x inputs / groups x height x width for " +
                             std::to_string(seen[seen.rank() - 1]) + " input channels");
  }
  const std::optional<std::size_t> bias =
      Has(node, 2) ? std::optional<std::size_t>(2) : std::nullopt;
  // On one pixel a convolution of one pixel is a dense layer.
  if (pixel && groups == 1 && extents[2] * extents[3] == 1) {
    ImportedLayer layer = LayerOf(node, OpKind::kDense, any.layer);
    layer.shape = Shape{extents[0]};
    layer.words = " " + std::to_string(extents[0]);
    FL_TRY_OK(SetWeight({node, any.layer, {extents[0], 1, 1, extents[1]}, 0, bias}, layer));
    return Define(node, std::move(layer), Order::kOnePixel);
  }
  FL_TRY(const Activation input, ImageAt(node, 0));
  const Shape image = ShapeOf(input);
  FL_TRY(const ImportedWindow window, WindowOf(node, image, extents[2], extents[3], true));
  const bool depthwise = groups > 1 && groups == image[2] && extents[0] == groups;
  ImportedLayer layer =
      LayerOf(node, depthwise ? OpKind::kDepthwise : OpKind::kConv2d, input.layer);
  layer.shape = Shape{window.output[0], window.output[1], extents[0]};
  layer.words = (depthwise ? "" : " " + std::to_string(extents[0])) + window.Words();
  if (groups > 1 && !depthwise) layer.words += " groups=" + std::to_string(groups);
  const WeightExtents own = {extents[0], extents[2], extents[3], extents[1]};
  FL_TRY_OK(SetWeight({node, input.layer, own, 0, bias}, layer));
  if (window.kernel[0] != extents[2] || window.kernel[1] != extents[3]) {
    const WeightExtents grown = {extents[0], window.kernel[0], window.kernel[1], extents[1]};
    std::vector<float>& floats = layer.parameters[".weight"];
    std::vector<std::int8_t>& integers = layer.quantized.weight;
    if (integer_) {
      integers = FromOnnxOrder<std::int8_t>(
          GrowKernels(ToOnnxOrder<std::int8_t>(integers, own, OutputChannel::kFirst), extents[2],
                      extents[3], window),
          grown, OutputChannel::kFirst);
    } else {
      floats =
          FromOnnxOrder<float>(GrowKernels(ToOnnxOrder<float>(floats, own, OutputChannel::kLast),
                                           extents[2], extents[3], window),
                               grown, OutputChannel::kLast);
    }
  }
  return Define(node, std::move(layer), Order::kChannelsFirst);
}

Result<> GraphReader::AddDense(const Operator& node, bool transposed,
                               std::optional<std::size_t> bias) {
  FL_TRY(const Activation input, ActivationAt(node, 0));
  FL_TRY(const Constant weight, ConstantAt(node, 1));
  const std::vector<std::size_t> extents = ExtentsOf(*weight.tensor);
  const std::size_t output_axis = transposed ? 0 : 1;
  const Shape& shape = ShapeOf(input);
  if (input.order != Order::kFlat || extents.size() != 2 ||
      extents[1 - output_axis] != shape.count()) {
    return OperatorError(
        ErrorCode::kShapeMismatch, node,
        "expected an input N x features and a weight of two extents, one of them " +
            shape.ToText());
  }
  const std::size_t outputs = extents[output_axis];
  WeightExtents own = {outputs, 1, 1, shape.count()};
  if (input.flattened.rank() == 3)
    own = {outputs, input.flattened[0], input.flattened[1], input.flattened[2]};
  ImportedLayer layer = LayerOf(node, OpKind::kDense, input.layer);
  layer.shape = Shape{outputs};
  layer.words = " " + std::to_string(outputs);
  FL_TRY_OK(SetWeight({node, input.layer, own, output_axis, bias}, layer));
  return Define(node, std::move(layer), Order::kFlat);
}

Result<> GraphReader::ReadGemm(const Operator& node) {
  if (IntegerOr(node, "transA", 0) != 0 || NumberOr(node, "alpha", 1) != 1 ||
      NumberOr(node, "beta", 1) != 1) {
    return OperatorError(ErrorCode::kUnsupported, node, "expected transA 0, alpha 1 and beta 1");
  }
  const std::optional<std::size_t> bias =
      Has(node, 2) ? std::optional<std::size_t>(2) : std::nullopt;
  return AddDense(node, IntegerOr(node, "transB", 0) != 0, bias);
}

Result<> GraphReader::ReadMatMul(const Operator& node) {
  return AddDense(node, false, std::nullopt);
}

// An Add of a constant to a product that nothing else reads: true when it was that.
Result<bool> GraphReader::FoldBias(const Operator& node) {
  for (std::size_t k = 0; k < 2 && node.inputs.size() == 2; ++k) {
    FL_TRY(const Value* bias, ValueAt(node, k));
    FL_TRY(const Value* value, ValueAt(node, 1 - k));
    const auto* product = std::get_if<Activation>(value);
    if (!std::holds_alternative<Constant>(*bias) || product == nullptr) continue;
    ImportedLayer& layer = layers_[product->layer];
    const auto reads = reads_.find(node.inputs[1 - k]);
    if (layer.kind != OpKind::kDense || layer.scale || product->integer || reads->second != 1 ||
        product->layer + 1 != layers_.size()) {
      return OperatorError(ErrorCode::kUnsupported, node,
                           "expected two activations, or the constant as a MatMul's bias");
    }
    FL_TRY_OK(SetBias(node, k, layer));
    FL_TRY_OK(DefineValue(node, *value));
    return true;
  }
  return false;
}

Result<> GraphReader::ReadBatchNorm(const Operator& node) {
  FL_TRY(const Activation input, ActivationAt(node, 0));
  const bool order = input.order == Order::kChannelsFirst || input.order == Order::kFlat;
  if (integer_ || !order || input.flattened.rank() != 0 ||
      IntegerOr(node, "training_mode", 0) != 0) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected an fp32 model, not in training, and an input N x channels x "
                         "height x width or N x features");
  }
  const Shape& shape = ShapeOf(input);
  const std::size_t channels = shape[shape.rank() - 1];
  ImportedLayer layer = LayerOf(node, OpKind::kBatchNorm, input.layer);
  const char* const suffixes[] = {".gamma", ".beta", ".mean", ".variance"};
  for (std::size_t k = 0; k < 4; ++k) {
    FL_TRY(layer.parameters[suffixes[k]], FloatsAt(node, k + 1, channels));
  }
  // fl's epsilon is its own: the difference goes into the variance.
  const float more = NumberOr(node, "epsilon", 1e-5F) - nn::kNormEpsilon;
  for (float& variance : layer.parameters[".variance"]) {
    if (more != 0) variance += more;
    if (variance >= 0) continue;
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected variances and an epsilon that sum to at least 1e-5");
  }
  return Define(node, std::move(layer), input.order);
}

Result<> GraphReader::ReadLayerNorm(const Operator& node) {
  FL_TRY(const Activation input, ActivationAt(node, 0));
  const Shape& shape = ShapeOf(input);
  const std::size_t channels = shape[shape.rank() - 1];
  const std::int64_t axis = IntegerOr(node, "axis", -1);
  const bool last = axis == -1 || axis == static_cast<std::int64_t>(shape.rank());
  const bool order = input.order == Order::kChannelsLast || input.order == Order::kFlat;
  const float epsilon = NumberOr(node, "epsilon", 1e-5F);
  if (!last || !order || input.flattened.rank() != 0 ||
      std::abs(epsilon - nn::kNormEpsilon) > 1e-9F) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected epsilon 1e-5 and the last axis of an input N x "
                         "features or N x height x width x channels");
  }
  ImportedLayer layer = LayerOf(node, OpKind::kLayerNorm, input.layer);
  FL_TRY(layer.parameters[".gamma"], FloatsAt(node, 1, channels));
  layer.parameters[".beta"].assign(channels, 0);
  if (Has(node, 2)) {
    FL_TRY(layer.parameters[".beta"], FloatsAt(node, 2, channels));
  }
  if (integer_) {
    layer.quantized.gamma = layer.parameters[".gamma"];
    layer.quantized.beta = layer.parameters[".beta"];
  }
  return Define(node, std::move(layer), input.order);
}

Result<> GraphReader::ReadQuantize(const Operator& node) {
  FL_TRY(const Value* value, ValueAt(node, 0));
  FL_TRY(const Tensor* scale, TensorAt(node, 1));
  const Tensor* zero_point = nullptr;
  if (Has(node, 2)) {
    FL_TRY(zero_point, TensorAt(node, 2));
  }
  const std::int64_t axis = std::max<std::int64_t>(IntegerOr(node, "axis", 1), 0);
  FL_TRY(const Quantization quantization,
         QuantizationOf(*scale, zero_point, zero_point, static_cast<std::size_t>(axis)));
  if (const auto* constant = std::get_if<Constant>(value)) {
    const DataType type = zero_point != nullptr ? zero_point->type : DataType::kUint8;
    FL_TRY(Tensor made, Quantized(*constant->tensor, quantization, type));
    made_.push_back(std::move(made));
    return DefineValue(node, Constant{&made_.back(), {}});
  }
  FL_TRY(Activation activation, ActivationAt(node, 0));
  const std::int32_t zero = quantization.zero_point[0];
  if (quantization.scale.size() != 1 || zero < -128 || zero > 127) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected one scale and a zero point of int8 or uint8 for an activation");
  }
  const nn::ActivationScale own = {quantization.scale[0], zero};
  std::optional<nn::ActivationScale>& known = layers_[activation.layer].scale;
  if (known && !(*known == own)) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected the scale and zero point that the layer's values have already");
  }
  known = own;
  activation.integer = true;
  return DefineValue(node, activation);
}

Result<> GraphReader::ReadDequantize(const Operator& node) {
  FL_TRY(const Value* value, ValueAt(node, 0));
  FL_TRY(const Tensor* scale, TensorAt(node, 1));
  const Tensor* zero_point = nullptr;
  if (Has(node, 2)) {
    FL_TRY(zero_point, TensorAt(node, 2));
  }
  const auto* constant = std::get_if<Constant>(value);
  const Tensor* integers = constant != nullptr ? constant->tensor : zero_point;
  const std::int64_t axis = std::max<std::int64_t>(IntegerOr(node, "axis", 1), 0);
  FL_TRY(Quantization quantization,
         QuantizationOf(*scale, zero_point, integers, static_cast<std::size_t>(axis)));
  if (constant != nullptr) {
    if (constant->dequantized())
      return OperatorError(ErrorCode::kMalformed, node, "expected integers, found floats");
    return DefineValue(node, Constant{constant->tensor, std::move(quantization)});
  }
  Activation activation = std::get<Activation>(*value);
  const nn::ActivationScale own = {quantization.scale[0], quantization.zero_point[0]};
  const std::optional<nn::ActivationScale>& known = layers_[activation.layer].scale;
  if (!activation.integer || quantization.scale.size() != 1 || !known || !(*known == own)) {
    return OperatorError(ErrorCode::kUnsupported, node,
                         "expected integers of QuantizeLinear, with its scale and zero point");
  }
  activation.integer = false;
  return DefineValue(node, activation);
}

}  // namespace fl::onnx::internal
