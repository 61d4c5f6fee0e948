#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fl/common/nn/onnx/onnx_model.h"
#include "fl/common/nn/quantized_model.h"

namespace fl::onnx::internal {

// How a constant's integers stand for numbers: value = scale * (q - zero_point), one of each for
// the whole tensor or for each position along `axis`. Integers are signed; unsigned ones have 128
// taken off, from value and zero point alike.
struct Quantization {
  std::vector<float> scale;
  std::vector<std::int32_t> zero_point;  // As many as scales.
  std::size_t axis = 0;
};

// Numbers of a constant as fp32, from float, double, float16 or bfloat16. kUnsupported for another
// type, kNotFinite; both name the constant.
Result<std::vector<float>> FloatsOf(const Tensor& tensor);

// Whole numbers, from int64 or int32.
Result<std::vector<std::int64_t>> IntegersOf(const Tensor& tensor);

// Signed integers, from int8, uint8 or int32.
Result<std::vector<std::int32_t>> QuantizedOf(const Tensor& tensor);

// The scales and zero points of a QuantizeLinear or DequantizeLinear whose integers have the type
// of `integers` (or of the zero point where that is null). kMalformed when a scale is not positive
// and finite, or counts do not agree.
Result<Quantization> QuantizationOf(const Tensor& scale, const Tensor* zero_point,
                                    const Tensor* integers, std::size_t axis);

// What the integers stand for.
Result<std::vector<float>> Dequantized(const Tensor& tensor, const Quantization& quantization);

// A constant as QuantizeLinear makes it, int8 or uint8.
Result<Tensor> Quantized(const Tensor& tensor, const Quantization& quantization, DataType type);

}  // namespace fl::onnx::internal
