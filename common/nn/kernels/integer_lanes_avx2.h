#pragma once

// Sixteen lanes in two registers of AVX2, products by AVX-VNNI or in pairs of 16 bits. Included by
// integer_lanes.h alone.
#include <cstddef>
#include <cstdint>

// GCC 12 warns of variables that its own header leaves undefined on purpose.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

namespace fl::nn::kernels {
namespace {

#if defined(FL_ISA_avxvnni)
using Stored = std::uint8_t;
inline constexpr std::int32_t kOffset = 128;
#else
using Stored = std::int8_t;
inline constexpr std::int32_t kOffset = 0;
#endif

struct Ints {
  __m256i low;
  __m256i high;
};
struct Floats {
  __m256 low;
  __m256 high;
};

inline Ints LoadInts(const std::int32_t* from) {
  const __m256i* words = reinterpret_cast<const __m256i*>(from);
  return {_mm256_loadu_si256(words), _mm256_loadu_si256(words + 1)};
}
inline Ints IntsOf(const std::uint8_t* stored) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(stored));
#if defined(FL_ISA_avxvnni)
  return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes))};
#else
  return {_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes))};
#endif
}
inline Ints SplatInts(std::int32_t value) {
  return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)};
}
inline Ints operator+(Ints a, Ints b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
inline Ints operator-(Ints a, Ints b) {
  return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
inline Ints Larger(Ints a, Ints b) {
  return {_mm256_max_epi32(a.low, b.low), _mm256_max_epi32(a.high, b.high)};
}
#if defined(FL_ISA_avxvnni)
inline __m256i Dot(__m256i sum, __m256i a, __m256i b) {
  return _mm256_dpbusd_avx_epi32(sum, a, b);
}
#else
// |a| times b with a's sign: |a| <= 128 and |b| <= 127, so a pair's sum is at most 32512 and never
// saturates.
inline __m256i Dot(__m256i sum, __m256i a, __m256i b) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#endif
inline Ints MultiplyAdd(Ints sums, std::int32_t four, const std::int8_t* b) {
  const __m256i a = _mm256_set1_epi32(four);
  const __m256i* panel = reinterpret_cast<const __m256i*>(b);
  return {Dot(sums.low, a, _mm256_loadu_si256(panel)),
          Dot(sums.high, a, _mm256_loadu_si256(panel + 1))};
}

// The four inputs of four groups for each quad of channels.
struct Gathered {
  __m256i low;
  __m256i high;
};
// Sixteen bytes of the window after the other: where a place lies elsewhere, the sum below has its
// high bit set, and the shuffle gives zero.
inline __m256i GatherPart(const std::uint8_t* window, __m256i places) {
  __m256i gathered = _mm256_setzero_si256();
#pragma GCC unroll 8
  for (int part = 0; part < 8; ++part) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(window + 16 * part));
    const __m256i at = _mm256_sub_epi8(places, _mm256_set1_epi8(static_cast<char>(16 * part)));
    const __m256i here = _mm256_adds_epu8(at, _mm256_set1_epi8(0x70));
    gathered =
        _mm256_or_si256(gathered, _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), here));
  }
  return gathered;
}
inline Gathered Gather(const std::uint8_t* window, const std::uint8_t* places) {
  const __m256i* at = reinterpret_cast<const __m256i*>(places);
  return {GatherPart(window, _mm256_loadu_si256(at)),
          GatherPart(window, _mm256_loadu_si256(at + 1))};
}
template <int GROUP>
Ints MultiplyAddGathered(Ints sums, const Gathered& gathered, const std::int8_t* b) {
  const __m256i* panel = reinterpret_cast<const __m256i*>(b);
  return {
      Dot(sums.low, _mm256_shuffle_epi32(gathered.low, GROUP * 0x55), _mm256_loadu_si256(panel)),
      Dot(sums.high, _mm256_shuffle_epi32(gathered.high, GROUP * 0x55),
          _mm256_loadu_si256(panel + 1))};
}

inline Floats ToFloats(Ints a) {
  return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)};
}
inline Floats LoadFloats(const float* from) {
  return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
}
inline Floats Splat(float value) {
  return {_mm256_set1_ps(value), _mm256_set1_ps(value)};
}
inline Floats operator+(Floats a, Floats b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
inline Floats operator*(Floats a, Floats b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
inline Floats operator/(Floats a, Floats b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
inline Floats Clamp(Floats a, Floats low, Floats high) {
  return {_mm256_min_ps(_mm256_max_ps(a.low, low.low), high.low),
          _mm256_min_ps(_mm256_max_ps(a.high, low.high), high.high)};
}
// What is less than 0 becomes 0; NaN and -0 stay.
inline Floats Positive(Floats a) {
  return {_mm256_max_ps(_mm256_setzero_ps(), a.low), _mm256_max_ps(_mm256_setzero_ps(), a.high)};
}
inline void StoreFloats(Floats a, float* to) {
  _mm256_storeu_ps(to, a.low);
  _mm256_storeu_ps(to + 8, a.high);
}
inline void StoreBytes(Floats a, std::int32_t zero_point, std::uint8_t* to) {
  const __m256i zero = _mm256_set1_epi32(zero_point);
  const __m256i low = _mm256_add_epi32(_mm256_cvtps_epi32(a.low), zero);
  const __m256i high = _mm256_add_epi32(_mm256_cvtps_epi32(a.high), zero);
  const __m256i halves = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
  const __m128i first = _mm256_castsi256_si128(halves);
  const __m128i second = _mm256_extracti128_si256(halves, 1);
#if defined(FL_ISA_avxvnni)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(first, second));
#else
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_packs_epi16(first, second));
#endif
}

}  // namespace
}  // namespace fl::nn::kernels
