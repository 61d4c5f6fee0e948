#pragma once

#include <cstddef>
#include <cstdint>

// The integer kernels, compiled once for each instruction set like the fp32 ones (float_kernels.h).
// All give the same bits.
//
// A value q in [-128, 127] is stored as the byte q + offset: unsigned where the offset is 128 (what
// VNNI multiplies), two's complement where it is 0. Every zero point that a kernel takes has the
// offset in it. Memory that a kernel reads or writes goes on for kIntegerSlack bytes after its end.
namespace fl::nn::kernels {

inline constexpr std::size_t kIntegerPanel = 16;  // Output channels of a panel.
inline constexpr std::size_t kIntegerGroup = 4;   // Inputs that are multiplied together.
inline constexpr std::size_t kIntegerSlack = 64;
inline constexpr std::size_t kIntegerPool = 4;  // Rows of which a fused pool takes the maximum.

// out = clamp(round_half_even(float(sum + bias[j]) * multiplier[j]), low, high) + zero_point.
struct Requantization {
  const std::int32_t* bias = nullptr;
  const float* multiplier = nullptr;
  float low = 0;  // In units of the output, before the zero point is added.
  float high = 0;
  std::int32_t zero_point = 0;
};

// float(sum + bias[j]) * multiplier[j] + shift[j], of what stays fp32.
struct FloatResult {
  float* values = nullptr;       // Null: the product is rounded.
  const float* shift = nullptr;  // As many as multipliers; null: none.
  bool relu = false;             // What is less than 0 becomes 0.
};

// A matrix product with the rows of A in place: row r begins at a + row_offsets[r] and has segments
// of groups of 4 contiguous bytes. The last group of a segment may reach up to 3 bytes beyond it;
// their weights are zero.
struct IntegerProduct {
  const std::uint8_t* a = nullptr;
  const std::size_t* row_offsets = nullptr;
  std::size_t rows = 0;
  bool pooled = false;  // An output row is the maximum of 4 rows, one after the other.
  std::size_t segments = 1;
  std::size_t segment_stride = 0;
  std::size_t segment_groups = 0;
  // Panels of segments * segment_groups x 16 channels x 4 inputs, in [-127, 127].
  const std::int8_t* b = nullptr;
  std::size_t panels = 0;
  std::size_t channels = 0;  // Of the output; bias and multiplier have panels * 16.
  Requantization to;
  std::uint8_t* out = nullptr;
  std::size_t out_stride = 0;  // From row to row.
  FloatResult result = {};     // Where set: goes there, not to out.
};

inline constexpr std::size_t kSparseWindow = 128;
inline constexpr std::size_t kSparsePlaces = 64;

// Weights in chunks of 64 blocks of 4 channels x 1 input: 16 blocks for each quad of a panel's
// channels. Place i of quad q is input first + places[16 q + i] of the row, places below the
// window; memory must go on for the window after `first`. Its weights are those of group i / 4, as
// a dense panel has them (16 channels x 4 inputs). What a quad does not fill has weights of zero.
struct SparseWeights {
  const std::uint32_t* panel_ends = nullptr;  // Chunks up to the end of each panel.
  const std::uint32_t* first = nullptr;       // Of each chunk.
  const std::uint8_t* places = nullptr;       // 64 of each chunk.
  const std::int8_t* weights = nullptr;       // 256 of each chunk.
};

// Weights of a dense layer by input: input k's are at weights + k * stride, channels in blocks of
// 64 in the order of InputWeightPlace, which the kernel undoes when it puts four inputs' side by
// side.
struct InputWeights {
  const std::int8_t* weights = nullptr;
  std::size_t inputs = 0;
  std::size_t stride = 0;           // The channels, rounded up to whole blocks.
  std::int32_t* sums = nullptr;     // Memory for `stride` values.
  std::uint32_t* places = nullptr;  // For inputs + kInputsAhead.
  std::uint8_t* values = nullptr;   // Likewise.
};
inline constexpr std::size_t kInputBlock = 64;
inline constexpr std::size_t kInputsAhead = 32;
constexpr std::size_t InputWeightPlace(std::size_t channel) {
  const std::size_t lane = channel % kInputBlock;
  return channel - lane + lane % 16 / 4 * 16 + lane / 16 * 4 + lane % 4;
}

// One row of a depthwise convolution, seen as one vector over columns and channels: output i sums
// weight * a[i + tap] over the taps. Weights repeat after `period` blocks of 64 outputs.
struct IntegerDepthwise {
  const std::uint8_t* a = nullptr;
  const std::size_t* taps = nullptr;  // A multiple of 4; those too many have weights of zero.
  std::size_t tap_groups = 0;
  std::size_t count = 0;
  std::size_t period = 1;
  const std::int8_t* weight = nullptr;  // period x tap_groups x 64 x 4, in an order of its own.
  Requantization to;                    // bias and multiplier: period x 64, ordered likewise.
  std::uint8_t* out = nullptr;
  FloatResult result =
      {};  // Where set: goes there, not to out; shift: period x 64, ordered likewise.
};

// Windows that lie inside the image (or in its padding), one output row.
struct IntegerPool {
  const std::uint8_t* in = nullptr;
  std::size_t row_stride = 0;    // From one input row to the next.
  std::size_t pixel_stride = 0;  // From one window to the next.
  std::size_t kernel_height = 0;
  std::size_t kernel_width = 0;
  std::size_t channels = 0;
  std::size_t outputs = 0;
  std::uint8_t* out = nullptr;
};

// A mean: (sum + bias) * multiplier, the same for all channels.
struct IntegerMean {
  std::int32_t bias = 0;
  float multiplier = 0;
  float low = 0;
  float high = 0;
  std::int32_t zero_point = 0;
};

struct IntegerOperand {
  const std::uint8_t* values = nullptr;
  std::int32_t zero_point = 0;
  float multiplier = 0;  // Of a sum.
};

// Operands q_k - z_k, in floats: their sum ((q_0 - z_0) m_0 + (q_1 - z_1) m_1) + ..., or their
// product ((q_0 - z_0) (q_1 - z_1) ...) * multiplier; rounded and clamped like a Requantization.
struct IntegerCombination {
  const IntegerOperand* operands = nullptr;
  std::size_t operand_count = 0;
  std::size_t count = 0;
  bool product = false;
  float multiplier = 0;  // Of a product.
  float low = 0;
  float high = 0;
  std::int32_t zero_point = 0;
  std::uint8_t* out = nullptr;
};

struct IntegerKernels {
  std::int32_t offset;
  bool taps_together;  // Depthwise weights: a channel's four taps side by side, else apart.
  void (*multiply)(const IntegerProduct& product);
  // Up to which share of the dense weights (SparsePanels::share) multiply_sparse is faster,
  // measured for one row and for many.
  float sparse_share_row;
  float sparse_share_rows;
  // With rows of one segment; b is not read.
  void (*multiply_sparse)(const IntegerProduct& product, const SparseWeights& sparse);
  // One row of which a byte of 0 adds nothing; b is not read. Null: not on this instruction set.
  void (*multiply_by_input)(const IntegerProduct& product, const InputWeights& weights);
  void (*depthwise)(const IntegerDepthwise& depthwise);
  void (*maximum)(const IntegerPool& pool);
  void (*average)(const IntegerPool& pool, const IntegerMean& mean);
  void (*combine)(const IntegerCombination& combination);
  // In [low, high], bytes as they are stored.
  void (*clamp)(const std::uint8_t* in, std::size_t count, std::uint8_t low, std::uint8_t high,
                std::uint8_t* out);
  // The least and the largest of the values and zero; NaN counts for nothing.
  void (*range)(const float* in, std::size_t count, float* low, float* high);
  // round_half_even(in / scale) + zero_point, clamped to what a byte holds; NaN becomes the least.
  void (*quantize)(const float* in, std::size_t count, float scale, std::int32_t zero_point,
                   std::uint8_t* out);
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
namespace avx512vbmi {
const IntegerKernels& IntegerTable();
}
namespace neon {
const IntegerKernels& IntegerTable();
}
namespace sdot {
const IntegerKernels& IntegerTable();
}

}  // namespace fl::nn::kernels
