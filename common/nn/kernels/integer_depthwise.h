#pragma once

#include "fl/common/nn/kernels/integer_finish.h"
#include "fl/common/nn/kernels/integer_kernels.h"
#include "fl/common/nn/kernels/integer_lanes.h"

// Depthwise convolution: no value is shared between channels, so 64 neighbours of a row are one
// vector.
namespace fl::nn::kernels {
namespace {

inline constexpr std::size_t kBlock = 64;

#if defined(__AVX512VNNI__)

inline constexpr bool kTapsTogether = true;

// The bytes of four taps side by side for each of 64 channels: vector k has, in its 128 bits number
// L, channels 16 L + 4 k to 16 L + 4 k + 3.
inline void Interleave(const std::uint8_t* a, const std::size_t* taps, __m512i (&out)[4]) {
  const __m512i t0 = _mm512_loadu_si512(a + taps[0]);
  const __m512i t1 = _mm512_loadu_si512(a + taps[1]);
  const __m512i t2 = _mm512_loadu_si512(a + taps[2]);
  const __m512i t3 = _mm512_loadu_si512(a + taps[3]);
  const __m512i low01 = _mm512_unpacklo_epi8(t0, t1);
  const __m512i high01 = _mm512_unpackhi_epi8(t0, t1);
  const __m512i low23 = _mm512_unpacklo_epi8(t2, t3);
  const __m512i high23 = _mm512_unpackhi_epi8(t2, t3);
  out[0] = _mm512_unpacklo_epi16(low01, low23);
  out[1] = _mm512_unpackhi_epi16(low01, low23);
  out[2] = _mm512_unpacklo_epi16(high01, high23);
  out[3] = _mm512_unpackhi_epi16(high01, high23);
}

// The sums of a block as fp32: each 128 bits go where their channels belong.
inline void FinishBlockFloats(const IntegerDepthwise& depthwise, const __m512i (&sums)[4],
                              std::size_t phase, std::size_t at) {
  __m512 values[4];
#pragma GCC unroll 4
  for (std::size_t k = 0; k < 4; ++k) {
    values[k] = ResultOf(IntsIn(sums[k]), depthwise.to.multiplier, depthwise.result,
                         phase * kBlock + k * kLanes);
  }
  const __m512 low01 = _mm512_shuffle_f32x4(values[0], values[1], 0x44);
  const __m512 high01 = _mm512_shuffle_f32x4(values[0], values[1], 0xEE);
  const __m512 low23 = _mm512_shuffle_f32x4(values[2], values[3], 0x44);
  const __m512 high23 = _mm512_shuffle_f32x4(values[2], values[3], 0xEE);
  const __m512 ordered[4] = {
      _mm512_shuffle_f32x4(low01, low23, 0x88), _mm512_shuffle_f32x4(low01, low23, 0xDD),
      _mm512_shuffle_f32x4(high01, high23, 0x88), _mm512_shuffle_f32x4(high01, high23, 0xDD)};
  const std::size_t left = depthwise.count - at;
  const std::uint64_t mask = left >= kBlock ? ~0ULL : (1ULL << left) - 1;
#pragma GCC unroll 4
  for (std::size_t k = 0; k < 4; ++k) {
    _mm512_mask_storeu_ps(depthwise.result.values + at + k * kLanes,
                          static_cast<__mmask16>(mask >> (k * kLanes)), ordered[k]);
  }
}

// The sums of a block as bytes; packing undoes the interleaving.
inline void FinishBlockBytes(const IntegerDepthwise& depthwise, const __m512i (&sums)[4],
                             std::size_t phase, std::size_t at) {
  const __m512i zero_point = _mm512_set1_epi16(static_cast<std::int16_t>(depthwise.to.zero_point));
  const __m512 high = _mm512_set1_ps(depthwise.to.high);
  const int least = static_cast<int>(depthwise.to.low) + depthwise.to.zero_point;
  const __m512i low = _mm512_set1_epi8(static_cast<char>(least));
  const float* multiplier = depthwise.to.multiplier + phase * kBlock;
  __m512i rounded[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const __m512 value =
        _mm512_mul_ps(_mm512_cvtepi32_ps(sums[k]), _mm512_loadu_ps(multiplier + k * 16));
    rounded[k] = _mm512_cvtps_epi32(_mm512_min_ps(value, high));
  }
  const __m512i first = _mm512_adds_epi16(_mm512_packs_epi32(rounded[0], rounded[1]), zero_point);
  const __m512i second = _mm512_adds_epi16(_mm512_packs_epi32(rounded[2], rounded[3]), zero_point);
  const __m512i bytes = _mm512_max_epu8(_mm512_packus_epi16(first, second), low);
  const std::size_t left = depthwise.count - at;
  const __mmask64 mask = left >= kBlock ? ~0ULL : (1ULL << left) - 1;
  _mm512_mask_storeu_epi8(depthwise.out + at, mask, bytes);
}

inline void Depthwise(const IntegerDepthwise& depthwise) {
  std::size_t phase = 0;
  for (std::size_t at = 0; at < depthwise.count; at += kBlock) {
    const std::int8_t* weight =
        depthwise.weight + phase * depthwise.tap_groups * kBlock * kIntegerGroup;
    const std::int32_t* bias = depthwise.to.bias + phase * kBlock;
    __m512i sums[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sums[k] = _mm512_loadu_si512(bias + k * 16);
    for (std::size_t group = 0; group < depthwise.tap_groups; ++group) {
      __m512i values[4];
      Interleave(depthwise.a + at, depthwise.taps + group * kIntegerGroup, values);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        sums[k] = _mm512_dpbusd_epi32(sums[k], values[k], _mm512_loadu_si512(weight));
        weight += kBlock;
      }
    }
    if (depthwise.result.values != nullptr) {
      FinishBlockFloats(depthwise, sums, phase, at);
    } else {
      FinishBlockBytes(depthwise, sums, phase, at);
    }
    phase = phase + 1 == depthwise.period ? 0 : phase + 1;
  }
}

#elif !defined(FL_ISA_avxvnni) && !defined(FL_ISA_avx2)

inline constexpr bool kTapsTogether = false;

// A product of two bytes fits 16 bits, which the compiler turns into multiplications of 16 bits.
inline void AddTap(const std::uint8_t* a, const std::int8_t* weight, std::int32_t (&sums)[kBlock]) {
  for (std::size_t c = 0; c < kBlock; ++c) {
    // NOLINTNEXTLINE(bugprone-signed-char-misuse): the bytes are numbers.
    const std::int16_t value = static_cast<Stored>(a[c]);
    const std::int16_t factor = weight[c];  // NOLINT(bugprone-signed-char-misuse): likewise.
    sums[c] += value * factor;
  }
}

inline void Depthwise(const IntegerDepthwise& depthwise) {
  const Floats low = Splat(depthwise.to.low);
  const Floats high = Splat(depthwise.to.high);
  const std::size_t taps = depthwise.tap_groups * kIntegerGroup;
  std::size_t phase = 0;
  for (std::size_t at = 0; at < depthwise.count; at += kBlock) {
    std::int32_t sums[kBlock];
    for (std::size_t c = 0; c < kBlock; ++c) sums[c] = depthwise.to.bias[phase * kBlock + c];
    for (std::size_t tap = 0; tap < taps; ++tap) {
      AddTap(depthwise.a + at + depthwise.taps[tap],
             depthwise.weight + (phase * taps + tap) * kBlock, sums);
    }
    for (std::size_t c = 0; c < kBlock && at + c < depthwise.count; c += kLanes) {
      const std::size_t left = depthwise.count - at - c;
      const std::size_t parameter = phase * kBlock + c;
      if (depthwise.result.values != nullptr) {
        StoreSomeFloats(
            ResultOf(LoadInts(sums + c), depthwise.to.multiplier, depthwise.result, parameter),
            left, depthwise.result.values + at + c);
        continue;
      }
      const Floats value =
          ToFloats(LoadInts(sums + c)) * LoadFloats(depthwise.to.multiplier + parameter);
      StoreSome(Clamp(value, low, high), depthwise.to.zero_point, left, depthwise.out + at + c);
    }
    phase = phase + 1 == depthwise.period ? 0 : phase + 1;
  }
}

#endif

}  // namespace
}  // namespace fl::nn::kernels

#if defined(FL_ISA_avxvnni) || defined(FL_ISA_avx2)
#include "fl/common/nn/kernels/integer_depthwise_avx2.h"
#endif
