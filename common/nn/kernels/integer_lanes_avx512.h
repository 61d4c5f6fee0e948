#pragma once

// Sixteen lanes in one register of AVX-512, products by VNNI. Included by integer_lanes.h alone.
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

using Stored = std::uint8_t;
inline constexpr std::int32_t kOffset = 128;

// Vectors as such, which + and the like take, not in a struct: the compiler then keeps arrays of
// them in registers.
typedef std::int32_t Ints __attribute__((vector_size(64)));
typedef float Floats __attribute__((vector_size(64)));

inline Ints IntsIn(__m512i words) {
  return reinterpret_cast<Ints>(words);
}
inline __m512i WordsOf(Ints a) {
  return reinterpret_cast<__m512i>(a);
}
inline Ints LoadInts(const std::int32_t* from) {
  return IntsIn(_mm512_loadu_si512(from));
}
// The stored bytes as they are.
inline Ints IntsOf(const std::uint8_t* stored) {
  return IntsIn(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(stored))));
}
inline Ints SplatInts(std::int32_t value) {
  return IntsIn(_mm512_set1_epi32(value));
}
inline Ints Larger(Ints a, Ints b) {
  return IntsIn(_mm512_max_epi32(WordsOf(a), WordsOf(b)));
}
// sums + four bytes of a row times the panel's weights.
inline Ints MultiplyAdd(Ints sums, std::int32_t four, const std::int8_t* b) {
  return IntsIn(_mm512_dpbusd_epi32(WordsOf(sums), _mm512_set1_epi32(four), _mm512_loadu_si512(b)));
}

// The four inputs of four groups for each quad of channels.
struct Gathered {
  __m512i v;
};
#if defined(__AVX512VBMI__)
inline Gathered Gather(const std::uint8_t* window, const std::uint8_t* places) {
  return {_mm512_permutex2var_epi8(_mm512_loadu_si512(window), _mm512_loadu_si512(places),
                                   _mm512_loadu_si512(window + 64))};
}
#else
// Sixteen bytes of the window after the other: where a place lies elsewhere, the sum below has its
// high bit set, and the shuffle gives zero.
inline Gathered Gather(const std::uint8_t* window, const std::uint8_t* places) {
  const __m512i wanted = _mm512_loadu_si512(places);
  __m512i gathered = _mm512_setzero_si512();
#pragma GCC unroll 8
  for (int part = 0; part < 8; ++part) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(window + 16 * part));
    const __m512i at = _mm512_sub_epi8(wanted, _mm512_set1_epi8(static_cast<char>(16 * part)));
    const __m512i here = _mm512_adds_epu8(at, _mm512_set1_epi8(0x70));
    gathered = _mm512_or_si512(gathered, _mm512_shuffle_epi8(_mm512_broadcast_i32x4(bytes), here));
  }
  return {gathered};
}
#endif
template <int GROUP>
Ints MultiplyAddGathered(Ints sums, const Gathered& gathered, const std::int8_t* b) {
  const __m512i four = _mm512_shuffle_epi32(gathered.v, static_cast<_MM_PERM_ENUM>(GROUP * 0x55));
  return IntsIn(_mm512_dpbusd_epi32(WordsOf(sums), four, _mm512_loadu_si512(b)));
}

inline Floats ToFloats(Ints a) {
  return _mm512_cvtepi32_ps(WordsOf(a));
}
inline Floats LoadFloats(const float* from) {
  return _mm512_loadu_ps(from);
}
inline Floats Splat(float value) {
  return _mm512_set1_ps(value);
}
// NaN becomes low.
inline Floats Clamp(Floats a, Floats low, Floats high) {
  return _mm512_min_ps(_mm512_max_ps(a, low), high);
}
// What is less than 0 becomes 0; NaN and -0 stay.
inline Floats Positive(Floats a) {
  return _mm512_max_ps(_mm512_setzero_ps(), a);
}
inline void StoreFloats(Floats a, float* to) {
  _mm512_storeu_ps(to, a);
}
// Rounds half to even; a + zero_point fits a byte.
inline void StoreBytes(Floats a, std::int32_t zero_point, std::uint8_t* to) {
  const __m512i words = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(zero_point));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(words));
}

}  // namespace
}  // namespace fl::nn::kernels
