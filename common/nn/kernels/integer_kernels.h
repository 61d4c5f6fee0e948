#pragma once

#include <cstddef>
#include <cstdint>

// The integer kernels, compiled once for each instruction set like the fp32 ones (float_kernels.h).
// All give the same bits.
namespace fl::nn::kernels {

inline constexpr std::size_t kIntegerPanel = 16;  // Output channels of a panel.
inline constexpr std::size_t kIntegerGroup = 4;   // Inputs that are multiplied together.

// C = A * B with s8 in and s32 out, A in place: segments of groups of 4 contiguous values. The last
// group of a segment may reach up to 3 values beyond it; their weights are zero, the memory must be
// there.
struct IntegerProduct {
  const std::int8_t* a = nullptr;
  std::size_t rows = 0;
  std::size_t row_stride = 0;
  std::size_t segments = 1;
  std::size_t segment_stride = 0;
  std::size_t segment_groups = 0;
  // Panels of segments * segment_groups x 16 channels x 4 inputs, in [-127, 127].
  const std::int8_t* b = nullptr;
  std::size_t panels = 0;
  std::int32_t* c = nullptr;  // rows x panels * 16.
};

// out[j] = clamp(round_half_even(float(sums[j] + bias[j]) * multiplier[j]), low, high) +
// zero_point.
struct Requantization {
  const std::int32_t* bias = nullptr;
  const float* multiplier = nullptr;
  std::size_t columns = 0;
  float low = 0;  // In units of the output, before the zero point is added.
  float high = 0;
  std::int32_t zero_point = 0;
};

struct IntegerKernels {
  std::int32_t
      offset;  // The kernel multiplies with a + offset; the caller's bias takes it out again.
  void (*multiply)(const IntegerProduct& product);
  void (*requantize)(const std::int32_t* sums, const Requantization& to, std::int8_t* out);
  // out = max(out, in).
  void (*maximum)(const std::int8_t* in, std::size_t count, std::int8_t* out);
};

namespace generic {
const IntegerKernels& IntegerTable();
}
namespace avx2 {
const IntegerKernels& IntegerTable();
}
namespace avxvnni {
const IntegerKernels& IntegerTable();
}
namespace avx512vnni {
const IntegerKernels& IntegerTable();
}

}  // namespace fl::nn::kernels
