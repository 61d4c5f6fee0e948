#include "fl/common/nn/onnx/internal/constants.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "fl/common/tensor/half.h"

namespace fl::onnx::internal {
namespace {

Error WrongType(const Tensor& tensor, std::string_view expected) {
  return {ErrorCode::kUnsupported, "ONNX: constant \"" + tensor.name + "\": expected elements of " +
                                       std::string(expected) + ", found " +
                                       std::string(DataTypeName(tensor.type))};
}

Error Malformed(const Tensor& tensor, std::string message) {
  return {ErrorCode::kMalformed, "ONNX: constant \"" + tensor.name + "\": " + std::move(message)};
}

template <typename T>
T ValueAt(const Tensor& tensor, std::size_t i) {
  T value;
  std::memcpy(&value, tensor.data.data() + i * sizeof(T), sizeof(T));
  return value;
}

// Positions along the axis, and how many values lie between two of them.
struct Axis {
  std::size_t extent = 1;
  std::size_t inner = 1;
  std::size_t At(std::size_t i) const { return i / inner % extent; }
};

Result<Axis> AxisOf(const Tensor& tensor, const Quantization& quantization) {
  Axis axis;
  if (quantization.scale.size() == 1) {
    axis.inner = std::max<std::size_t>(tensor.count(), 1);
    return axis;
  }
  if (quantization.axis >= tensor.extents.size() ||
      static_cast<std::size_t>(tensor.extents[quantization.axis]) != quantization.scale.size()) {
    return Malformed(tensor, "expected one scale, or one for each position along axis " +
                                 std::to_string(quantization.axis) + ", found " +
                                 std::to_string(quantization.scale.size()));
  }
  axis.extent = quantization.scale.size();
  for (std::size_t i = quantization.axis + 1; i < tensor.extents.size(); ++i)
    axis.inner *= static_cast<std::size_t>(tensor.extents[i]);
  axis.inner = std::max<std::size_t>(axis.inner, 1);
  return axis;
}

}  // namespace

Result<std::vector<float>> FloatsOf(const Tensor& tensor) {
  std::vector<float> values(tensor.count());
  for (std::size_t i = 0; i < values.size(); ++i) {
    switch (tensor.type) {
      case DataType::kFloat:
        values[i] = ValueAt<float>(tensor, i);
        break;
      case DataType::kDouble:
        values[i] = static_cast<float>(ValueAt<double>(tensor, i));
        break;
      case DataType::kFloat16:
        values[i] = HalfToFloat(ValueAt<std::uint16_t>(tensor, i));
        break;
      case DataType::kBfloat16:
        values[i] = Bfloat16ToFloat(ValueAt<std::uint16_t>(tensor, i));
        break;
      default:
        return WrongType(tensor, "float, double, float16 or bfloat16");
    }
    if (!std::isfinite(values[i])) {
      return Error{ErrorCode::kNotFinite, "ONNX: constant \"" + tensor.name + "\": value " +
                                              std::to_string(i) + " is not finite"};
    }
  }
  return values;
}

Result<std::vector<std::int64_t>> IntegersOf(const Tensor& tensor) {
  if (tensor.type != DataType::kInt64 && tensor.type != DataType::kInt32)
    return WrongType(tensor, "int64 or int32");
  std::vector<std::int64_t> values(tensor.count());
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = tensor.type == DataType::kInt64 ? ValueAt<std::int64_t>(tensor, i)
                                                : ValueAt<std::int32_t>(tensor, i);
  }
  return values;
}

Result<std::vector<std::int32_t>> QuantizedOf(const Tensor& tensor) {
  std::vector<std::int32_t> values(tensor.count());
  for (std::size_t i = 0; i < values.size(); ++i) {
    switch (tensor.type) {
      case DataType::kInt8:
        values[i] = (ValueAt<std::uint8_t>(tensor, i) ^ 0x80) - 128;
        break;
      case DataType::kUint8:
        values[i] = ValueAt<std::uint8_t>(tensor, i) - 128;
        break;
      case DataType::kInt32:
        values[i] = ValueAt<std::int32_t>(tensor, i);
        break;
      default:
        return WrongType(tensor, "int8, uint8 or int32");
    }
  }
  return values;
}

Result<Quantization> QuantizationOf(const Tensor& scale, const Tensor* zero_point,
                                    const Tensor* integers, std::size_t axis) {
  Quantization quantization;
  quantization.axis = axis;
  FL_TRY(quantization.scale, FloatsOf(scale));
  const auto wrong = std::ranges::find_if(quantization.scale, [](float one) { return one <= 0; });
  if (wrong != quantization.scale.end() || quantization.scale.empty() || scale.extents.size() > 1)
    return Malformed(scale, "expected scales that are positive, one for a tensor or for a channel");
  // Without a zero point integers are unsigned, unless the constant says otherwise.
  const bool is_unsigned = integers == nullptr || integers->type == DataType::kUint8;
  quantization.zero_point.assign(quantization.scale.size(), is_unsigned ? -128 : 0);
  if (zero_point == nullptr) return quantization;
  if (integers != nullptr && zero_point->type != integers->type)
    return WrongType(*zero_point, DataTypeName(integers->type));
  FL_TRY(quantization.zero_point, QuantizedOf(*zero_point));
  if (quantization.zero_point.size() == quantization.scale.size()) return quantization;
  return Malformed(*zero_point, "expected as many zero points as scales (" +
                                    std::to_string(quantization.scale.size()) + "), found " +
                                    std::to_string(quantization.zero_point.size()));
}

Result<std::vector<float>> Dequantized(const Tensor& tensor, const Quantization& quantization) {
  FL_TRY(const std::vector<std::int32_t> integers, QuantizedOf(tensor));
  FL_TRY(const Axis axis, AxisOf(tensor, quantization));
  std::vector<float> values(integers.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t at = axis.At(i);
    const std::int64_t units = std::int64_t{integers[i]} - quantization.zero_point[at];
    values[i] = quantization.scale[at] * static_cast<float>(units);
  }
  return values;
}

Result<Tensor> Quantized(const Tensor& tensor, const Quantization& quantization, DataType type) {
  FL_TRY(const std::vector<float> values, FloatsOf(tensor));
  FL_TRY(const Axis axis, AxisOf(tensor, quantization));
  Tensor to{.name = tensor.name, .type = type, .extents = tensor.extents, .data = {}};
  const int shift = type == DataType::kUint8 ? 128 : 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t at = axis.At(i);
    const float units = std::nearbyint(values[i] / quantization.scale[at]);
    const float integer = units + static_cast<float>(quantization.zero_point[at]);
    to.data.push_back(
        static_cast<std::byte>(static_cast<int>(std::clamp(integer, -128.0F, 127.0F)) + shift));
  }
  return to;
}

}  // namespace fl::onnx::internal
