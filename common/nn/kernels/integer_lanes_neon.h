#pragma once

// Sixteen lanes in four registers of NEON, products by SDOT or in pairs of 16 bits. Included by
// integer_lanes.h alone.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace fl::nn::kernels {
namespace {

using Stored = std::int8_t;
inline constexpr std::int32_t kOffset = 0;

struct Ints {
  int32x4_t parts[4];
};
struct Floats {
  float32x4_t parts[4];
};

inline Ints LoadInts(const std::int32_t* from) {
  return {{vld1q_s32(from), vld1q_s32(from + 4), vld1q_s32(from + 8), vld1q_s32(from + 12)}};
}
inline Ints IntsOf(const std::uint8_t* stored) {
  const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(stored));
  const int16x8_t low = vmovl_s8(vget_low_s8(bytes));
  const int16x8_t high = vmovl_high_s8(bytes);
  return {{vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)),
           vmovl_high_s16(high)}};
}
inline Ints SplatInts(std::int32_t value) {
  const int32x4_t words = vdupq_n_s32(value);
  return {{words, words, words, words}};
}
inline Ints operator+(Ints a, Ints b) {
  for (std::size_t i = 0; i < 4; ++i) a.parts[i] = vaddq_s32(a.parts[i], b.parts[i]);
  return a;
}
inline Ints operator-(Ints a, Ints b) {
  for (std::size_t i = 0; i < 4; ++i) a.parts[i] = vsubq_s32(a.parts[i], b.parts[i]);
  return a;
}
inline Ints Larger(Ints a, Ints b) {
  for (std::size_t i = 0; i < 4; ++i) a.parts[i] = vmaxq_s32(a.parts[i], b.parts[i]);
  return a;
}
#if defined(FL_ISA_sdot)
inline int32x4_t Dot(int32x4_t sum, int8x16_t a, int8x16_t b) {
  return vdotq_s32(sum, a, b);
}
#else
// A product is at most 128 * 127, so a pair's sum at most 32512, which 16 bits hold.
inline int32x4_t Dot(int32x4_t sum, int8x16_t a, int8x16_t b) {
  const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
  return vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(a, b)));
}
#endif
inline Ints MultiplyAdd(Ints sums, std::int32_t four, const std::int8_t* b) {
  const int8x16_t a = vreinterpretq_s8_s32(vdupq_n_s32(four));
  for (std::size_t i = 0; i < 4; ++i) {
    sums.parts[i] = Dot(sums.parts[i], a, vld1q_s8(b + 16 * i));
  }
  return sums;
}

// The four inputs of four groups for each quad of channels.
struct Gathered {
  int8x16_t quads[4];
};
// The window in eight registers: places from 64 on are found in the second half.
inline Gathered Gather(const std::uint8_t* window, const std::uint8_t* places) {
  const uint8x16x4_t low = {
      {vld1q_u8(window), vld1q_u8(window + 16), vld1q_u8(window + 32), vld1q_u8(window + 48)}};
  const uint8x16x4_t high = {{vld1q_u8(window + 64), vld1q_u8(window + 80), vld1q_u8(window + 96),
                              vld1q_u8(window + 112)}};
  Gathered gathered;
  for (std::size_t i = 0; i < 4; ++i) {
    const uint8x16_t at = vld1q_u8(places + 16 * i);
    const uint8x16_t first = vqtbl4q_u8(low, at);
    gathered.quads[i] = vreinterpretq_s8_u8(vqtbx4q_u8(first, high, vsubq_u8(at, vdupq_n_u8(64))));
  }
  return gathered;
}
template <int GROUP>
Ints MultiplyAddGathered(Ints sums, const Gathered& gathered, const std::int8_t* b) {
  for (std::size_t i = 0; i < 4; ++i) {
    const int32x4_t four = vdupq_laneq_s32(vreinterpretq_s32_s8(gathered.quads[i]), GROUP);
    sums.parts[i] = Dot(sums.parts[i], vreinterpretq_s8_s32(four), vld1q_s8(b + 16 * i));
  }
  return sums;
}

inline Floats ToFloats(Ints a) {
  Floats b;
  for (std::size_t i = 0; i < 4; ++i) b.parts[i] = vcvtq_f32_s32(a.parts[i]);
  return b;
}
inline Floats LoadFloats(const float* from) {
  return {{vld1q_f32(from), vld1q_f32(from + 4), vld1q_f32(from + 8), vld1q_f32(from + 12)}};
}
inline Floats Splat(float value) {
  const float32x4_t quad = vdupq_n_f32(value);
  return {{quad, quad, quad, quad}};
}
inline Floats operator+(Floats a, Floats b) {
  for (std::size_t i = 0; i < 4; ++i) a.parts[i] = vaddq_f32(a.parts[i], b.parts[i]);
  return a;
}
inline Floats operator*(Floats a, Floats b) {
  for (std::size_t i = 0; i < 4; ++i) a.parts[i] = vmulq_f32(a.parts[i], b.parts[i]);
  return a;
}
inline Floats operator/(Floats a, Floats b) {
  for (std::size_t i = 0; i < 4; ++i) a.parts[i] = vdivq_f32(a.parts[i], b.parts[i]);
  return a;
}
// NaN becomes low: the processor's own maximum would keep it.
inline Floats Clamp(Floats a, Floats low, Floats high) {
  for (std::size_t i = 0; i < 4; ++i) {
    const uint32x4_t above = vcgtq_f32(a.parts[i], low.parts[i]);
    a.parts[i] = vminq_f32(vbslq_f32(above, a.parts[i], low.parts[i]), high.parts[i]);
  }
  return a;
}
// What is less than 0 becomes 0; NaN and -0 stay.
inline Floats Positive(Floats a) {
  const float32x4_t zero = vdupq_n_f32(0);
  for (std::size_t i = 0; i < 4; ++i)
    a.parts[i] = vbslq_f32(vcltq_f32(a.parts[i], zero), zero, a.parts[i]);
  return a;
}
inline void StoreFloats(Floats a, float* to) {
  for (std::size_t i = 0; i < 4; ++i) vst1q_f32(to + 4 * i, a.parts[i]);
}
// Rounds half to even; a + zero_point fits a byte.
inline void StoreBytes(Floats a, std::int32_t zero_point, std::uint8_t* to) {
  const int32x4_t zero = vdupq_n_s32(zero_point);
  int16x4_t halves[4];
  for (std::size_t i = 0; i < 4; ++i) {
    halves[i] = vqmovn_s32(vaddq_s32(vcvtnq_s32_f32(a.parts[i]), zero));
  }
  vst1_s8(reinterpret_cast<std::int8_t*>(to), vqmovn_s16(vcombine_s16(halves[0], halves[1])));
  vst1_s8(reinterpret_cast<std::int8_t*>(to + 8), vqmovn_s16(vcombine_s16(halves[2], halves[3])));
}

}  // namespace
}  // namespace fl::nn::kernels
