// Compiled once for each instruction set with FL_ISA as its name (CMakeLists.txt). No header with
// inline functions that the linker could merge may be included here.
#include "fl/common/nn/kernels/integer_kernels.h"

#include "fl/common/nn/kernels/integer_by_input.h"
#include "fl/common/nn/kernels/integer_depthwise.h"
#include "fl/common/nn/kernels/integer_lanes.h"
#include "fl/common/nn/kernels/integer_sparse.h"
#include "fl/common/nn/kernels/integer_tiles.h"

namespace fl::nn::kernels {
namespace {

inline Stored Larger(Stored a, Stored b) {
  return a > b ? a : b;
}

// Channels in parts, so that a part's maxima stay in registers.
template <std::size_t PART>
void MaximumPart(const IntegerPool& pool, const std::uint8_t* from, std::uint8_t* to) {
  Stored largest[PART];
  for (std::size_t c = 0; c < PART; ++c) largest[c] = static_cast<Stored>(from[c]);
  for (std::size_t y = 0; y < pool.kernel_height; ++y) {
    for (std::size_t x = 0; x < pool.kernel_width; ++x) {
      const std::uint8_t* pixel = from + y * pool.row_stride + x * pool.channels;
      for (std::size_t c = 0; c < PART; ++c) {
        largest[c] = Larger(largest[c], static_cast<Stored>(pixel[c]));
      }
    }
  }
  for (std::size_t c = 0; c < PART; ++c) to[c] = static_cast<std::uint8_t>(largest[c]);
}

void Maximum(const IntegerPool& pool) {
  for (std::size_t i = 0; i < pool.outputs; ++i) {
    const std::uint8_t* from = pool.in + i * pool.pixel_stride;
    std::uint8_t* to = pool.out + i * pool.channels;
    std::size_t c = 0;
    for (; c + 64 <= pool.channels; c += 64) MaximumPart<64>(pool, from + c, to + c);
    for (; c + 16 <= pool.channels; c += 16) MaximumPart<16>(pool, from + c, to + c);
    for (; c < pool.channels; ++c) MaximumPart<1>(pool, from + c, to + c);
  }
}

void Average(const IntegerPool& pool, const IntegerMean& mean) {
  const Floats multiplier = Splat(mean.multiplier);
  for (std::size_t i = 0; i < pool.outputs; ++i) {
    for (std::size_t c = 0; c < pool.channels; c += kLanes) {
      const std::uint8_t* from = pool.in + i * pool.pixel_stride + c;
      Ints sums = SplatInts(mean.bias);
      for (std::size_t y = 0; y < pool.kernel_height; ++y) {
        for (std::size_t x = 0; x < pool.kernel_width; ++x) {
          sums = sums + IntsOf(from + y * pool.row_stride + x * pool.channels);
        }
      }
      const Floats value = Clamp(ToFloats(sums) * multiplier, Splat(mean.low), Splat(mean.high));
      StoreSome(value, mean.zero_point, pool.channels - c, pool.out + i * pool.channels + c);
    }
  }
}

inline Floats OperandAt(const IntegerOperand& operand, std::size_t at) {
  return ToFloats(IntsOf(operand.values + at) - SplatInts(operand.zero_point));
}

void Combine(const IntegerCombination& to) {
  for (std::size_t at = 0; at < to.count; at += kLanes) {
    Floats value = OperandAt(to.operands[0], at);
    if (!to.product) value = value * Splat(to.operands[0].multiplier);
    for (std::size_t k = 1; k < to.operand_count; ++k) {
      const IntegerOperand& operand = to.operands[k];
      const Floats other = OperandAt(operand, at);
      value = to.product ? value * other : value + other * Splat(operand.multiplier);
    }
    if (to.product) value = value * Splat(to.multiplier);
    StoreSome(Clamp(value, Splat(to.low), Splat(to.high)), to.zero_point, to.count - at,
              to.out + at);
  }
}

void ClampBytes(const std::uint8_t* in, std::size_t count, std::uint8_t low, std::uint8_t high,
                std::uint8_t* out) {
  const Stored least = static_cast<Stored>(low);
  const Stored most = static_cast<Stored>(high);
  for (std::size_t i = 0; i < count; ++i) {
    const Stored value = Larger(static_cast<Stored>(in[i]), least);
    out[i] = static_cast<std::uint8_t>(value < most ? value : most);
  }
}

inline float Least(float a, float b) {
  return b < a ? b : a;
}
inline float Most(float a, float b) {
  return b > a ? b : a;
}

void Range(const float* in, std::size_t count, float* low, float* high) {
  constexpr std::size_t kAtOnce = 4 * kLanes;
  float least[kAtOnce] = {};
  float most[kAtOnce] = {};
  std::size_t i = 0;
  for (; i + kAtOnce <= count; i += kAtOnce) {
    for (std::size_t k = 0; k < kAtOnce; ++k) {
      least[k] = Least(least[k], in[i + k]);
      most[k] = Most(most[k], in[i + k]);
    }
  }
  for (std::size_t k = 0; i < count; ++i, ++k) {
    least[k] = Least(least[k], in[i]);
    most[k] = Most(most[k], in[i]);
  }
  *low = 0;
  *high = 0;
  for (std::size_t k = 0; k < kAtOnce; ++k) {
    *low = Least(*low, least[k]);
    *high = Most(*high, most[k]);
  }
}

void Quantize(const float* in, std::size_t count, float scale, std::int32_t zero_point,
              std::uint8_t* out) {
  const float zero = static_cast<float>(zero_point - kOffset);
  const Floats low = Splat(-128.0F - zero);
  const Floats high = Splat(127.0F - zero);
  const Floats divisor = Splat(scale);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    StoreBytes(Clamp(LoadFloats(in + i) / divisor, low, high), zero_point, out + i);
  }
  if (i == count) return;
  float rest[kLanes] = {};
  for (std::size_t k = i; k < count; ++k) rest[k - i] = in[k];
  StoreSome(Clamp(LoadFloats(rest) / divisor, low, high), zero_point, count - i, out + i);
}

constexpr IntegerKernels kTable = {
    .offset = kOffset,
    .taps_together = kTapsTogether,
    .multiply = Multiply,
    .sparse_share_row = kSparseShareRow,
    .sparse_share_rows = kSparseShareRows,
    .multiply_sparse = MultiplySparse,
    .multiply_by_input = kMultiplyByInput,
    .depthwise = Depthwise,
    .maximum = Maximum,
    .average = Average,
    .combine = Combine,
    .clamp = ClampBytes,
    .range = Range,
    .quantize = Quantize,
};

}  // namespace

namespace FL_ISA {
const IntegerKernels& IntegerTable() {
  return kTable;
}
}  // namespace FL_ISA

}  // namespace fl::nn::kernels
