#pragma once

#include "fl/common/nn/kernels/integer_kernels.h"
#include "fl/common/nn/kernels/integer_lanes.h"

// Depthwise convolution in the registers of AVX2, half a block at a time. Included by
// integer_depthwise.h alone.
namespace fl::nn::kernels {
namespace {

inline constexpr bool kTapsTogether = true;

// A half's parameters and weights begin at 8 of 16 lanes, and at 32 of 64 bytes, of each vector.
inline constexpr std::size_t kHalfBlock = 32;

// The bytes of four taps side by side for each of 32 channels: vector k has, in its 128 bits number
// L, channels 16 L + 4 k to 16 L + 4 k + 3.
inline void InterleaveHalf(const std::uint8_t* a, const std::size_t* taps, __m256i (&out)[4]) {
  const auto load = [&](std::size_t tap) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + taps[tap]));
  };
  const __m256i low01 = _mm256_unpacklo_epi8(load(0), load(1));
  const __m256i high01 = _mm256_unpackhi_epi8(load(0), load(1));
  const __m256i low23 = _mm256_unpacklo_epi8(load(2), load(3));
  const __m256i high23 = _mm256_unpackhi_epi8(load(2), load(3));
  out[0] = _mm256_unpacklo_epi16(low01, low23);
  out[1] = _mm256_unpackhi_epi16(low01, low23);
  out[2] = _mm256_unpacklo_epi16(high01, high23);
  out[3] = _mm256_unpackhi_epi16(high01, high23);
}

// The first `count` bytes of what is in memory.
template <typename T>
inline void CopySome(const T* from, std::size_t count, T* to) {
  for (std::size_t i = 0; i < count; ++i) to[i] = from[i];
}

// Half a block's sums as fp32; `parameter` is the first vector's first.
inline void FinishHalfFloats(const IntegerDepthwise& depthwise, const __m256i (&sums)[4],
                             std::size_t parameter, std::size_t at) {
  const FloatResult& result = depthwise.result;
  __m256 values[4];
#pragma GCC unroll 4
  for (std::size_t k = 0; k < 4; ++k) {
    const std::size_t first = parameter + k * kLanes;
    values[k] = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[k]),
                              _mm256_loadu_ps(depthwise.to.multiplier + first));
    if (result.shift != nullptr)
      values[k] = _mm256_add_ps(values[k], _mm256_loadu_ps(result.shift + first));
    if (result.relu) values[k] = _mm256_max_ps(_mm256_setzero_ps(), values[k]);
  }
  const __m256 ordered[4] = {_mm256_permute2f128_ps(values[0], values[1], 0x20),
                             _mm256_permute2f128_ps(values[2], values[3], 0x20),
                             _mm256_permute2f128_ps(values[0], values[1], 0x31),
                             _mm256_permute2f128_ps(values[2], values[3], 0x31)};
  const std::size_t left = depthwise.count - at;
  float rest[kHalfBlock];
  float* to = left >= kHalfBlock ? result.values + at : rest;
#pragma GCC unroll 4
  for (std::size_t k = 0; k < 4; ++k) _mm256_storeu_ps(to + 8 * k, ordered[k]);
  if (to == rest) CopySome(rest, left, result.values + at);
}

// Half a block's sums as bytes; packing undoes the interleaving.
inline void FinishHalfBytes(const IntegerDepthwise& depthwise, const __m256i (&sums)[4],
                            std::size_t parameter, std::size_t at) {
  const __m256 low = _mm256_set1_ps(depthwise.to.low);
  const __m256 high = _mm256_set1_ps(depthwise.to.high);
  const __m256i zero = _mm256_set1_epi32(depthwise.to.zero_point);
  __m256i words[4];
#pragma GCC unroll 4
  for (std::size_t k = 0; k < 4; ++k) {
    const __m256 value =
        _mm256_mul_ps(_mm256_cvtepi32_ps(sums[k]),
                      _mm256_loadu_ps(depthwise.to.multiplier + parameter + k * kLanes));
    const __m256 clamped = _mm256_min_ps(_mm256_max_ps(value, low), high);
    words[k] = _mm256_add_epi32(_mm256_cvtps_epi32(clamped), zero);
  }
  const __m256i first = _mm256_packs_epi32(words[0], words[1]);
  const __m256i second = _mm256_packs_epi32(words[2], words[3]);
#if defined(FL_ISA_avxvnni)
  const __m256i bytes = _mm256_packus_epi16(first, second);
#else
  const __m256i bytes = _mm256_packs_epi16(first, second);
#endif
  const std::size_t left = depthwise.count - at;
  std::uint8_t rest[kHalfBlock];
  std::uint8_t* to = left >= kHalfBlock ? depthwise.out + at : rest;
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
  if (to == rest) CopySome(rest, left, depthwise.out + at);
}

inline void Depthwise(const IntegerDepthwise& depthwise) {
  std::size_t half = 0;  // Of all blocks of a period.
  for (std::size_t at = 0; at < depthwise.count; at += kHalfBlock) {
    const std::size_t parameter = half / 2 * kBlock + half % 2 * kLanes / 2;
    const std::int8_t* weight = depthwise.weight +
                                half / 2 * depthwise.tap_groups * kBlock * kIntegerGroup +
                                half % 2 * kHalfBlock;
    __m256i sums[4];
#pragma GCC unroll 4
    for (std::size_t k = 0; k < 4; ++k) {
      sums[k] = _mm256_loadu_si256(
          reinterpret_cast<const __m256i*>(depthwise.to.bias + parameter + k * kLanes));
    }
    for (std::size_t group = 0; group < depthwise.tap_groups; ++group) {
      __m256i values[4];
      InterleaveHalf(depthwise.a + at, depthwise.taps + group * kIntegerGroup, values);
#pragma GCC unroll 4
      for (std::size_t k = 0; k < 4; ++k) {
        sums[k] =
            Dot(sums[k], values[k], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight)));
        weight += kBlock;
      }
    }
    if (depthwise.result.values != nullptr) {
      FinishHalfFloats(depthwise, sums, parameter, at);
    } else {
      FinishHalfBytes(depthwise, sums, parameter, at);
    }
    half = half + 1 == 2 * depthwise.period ? 0 : half + 1;
  }
}

}  // namespace
}  // namespace fl::nn::kernels
