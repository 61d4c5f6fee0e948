#pragma once

#include <cstddef>
#include <cstdint>

#if defined(FL_ISA_avx2) || defined(FL_ISA_avxvnni) || defined(FL_ISA_avx512vnni)
// GCC 12 warns of variables that its own header leaves undefined on purpose.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

// Sixteen lanes of s32 and of fp32 in the registers of the instruction set that is being compiled
// (FL_ISA). Everything lies in an unnamed namespace, so that the linker cannot merge it.
namespace fl::nn::kernels {
namespace {

constexpr std::size_t kLanes = 16;

inline std::int32_t FourOf(const std::uint8_t* a) {
  std::int32_t four = 0;
  __builtin_memcpy(&four, a, 4);
  return four;
}

#if defined(FL_ISA_avx512vnni)

using Stored = std::uint8_t;
constexpr std::int32_t kOffset = 128;

struct Ints {
  __m512i v;
};
struct Floats {
  __m512 v;
};

inline Ints LoadInts(const std::int32_t* from) {
  return {_mm512_loadu_si512(from)};
}
// The stored bytes as they are.
inline Ints IntsOf(const std::uint8_t* stored) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(stored)))};
}
inline Ints SplatInts(std::int32_t value) {
  return {_mm512_set1_epi32(value)};
}
inline Ints operator+(Ints a, Ints b) {
  return {_mm512_add_epi32(a.v, b.v)};
}
inline Ints operator-(Ints a, Ints b) {
  return {_mm512_sub_epi32(a.v, b.v)};
}
inline Ints Larger(Ints a, Ints b) {
  return {_mm512_max_epi32(a.v, b.v)};
}
// sums + four bytes of a row times the panel's weights.
inline Ints MultiplyAdd(Ints sums, std::int32_t four, const std::int8_t* b) {
  return {_mm512_dpbusd_epi32(sums.v, _mm512_set1_epi32(four), _mm512_loadu_si512(b))};
}

inline Floats ToFloats(Ints a) {
  return {_mm512_cvtepi32_ps(a.v)};
}
inline Floats LoadFloats(const float* from) {
  return {_mm512_loadu_ps(from)};
}
inline Floats Splat(float value) {
  return {_mm512_set1_ps(value)};
}
inline Floats operator+(Floats a, Floats b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline Floats operator*(Floats a, Floats b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline Floats operator/(Floats a, Floats b) {
  return {_mm512_div_ps(a.v, b.v)};
}
// NaN becomes low.
inline Floats Clamp(Floats a, Floats low, Floats high) {
  return {_mm512_min_ps(_mm512_max_ps(a.v, low.v), high.v)};
}
inline void StoreFloats(Floats a, float* to) {
  _mm512_storeu_ps(to, a.v);
}
// Rounds half to even; a + zero_point fits a byte.
inline void StoreBytes(Floats a, std::int32_t zero_point, std::uint8_t* to) {
  const __m512i words = _mm512_add_epi32(_mm512_cvtps_epi32(a.v), _mm512_set1_epi32(zero_point));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(words));
}

#elif defined(FL_ISA_avxvnni) || defined(FL_ISA_avx2)

#if defined(FL_ISA_avxvnni)
using Stored = std::uint8_t;
constexpr std::int32_t kOffset = 128;
#else
using Stored = std::int8_t;
constexpr std::int32_t kOffset = 0;
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

#else

using Stored = std::int8_t;
constexpr std::int32_t kOffset = 0;
typedef std::int32_t Words __attribute__((vector_size(16)));
typedef std::int16_t Halves __attribute__((vector_size(16)));
typedef float Quad __attribute__((vector_size(16)));
typedef std::int32_t UnalignedWords __attribute__((vector_size(16), aligned(1), may_alias));
typedef float UnalignedQuad __attribute__((vector_size(16), aligned(1), may_alias));

struct Ints {
  Words parts[4];
};
struct Floats {
  Quad parts[4];
};

inline Ints LoadInts(const std::int32_t* from) {
  Ints a;
  for (std::size_t i = 0; i < 4; ++i)
    a.parts[i] = *reinterpret_cast<const UnalignedWords*>(from + 4 * i);
  return a;
}
inline Ints IntsOf(const std::uint8_t* stored) {
  std::int32_t words[16];
  for (std::size_t i = 0; i < 16; ++i) words[i] = static_cast<std::int8_t>(stored[i]);
  return LoadInts(words);
}
inline Ints SplatInts(std::int32_t value) {
  const Words words = {value, value, value, value};
  return {{words, words, words, words}};
}
inline Ints operator+(Ints a, Ints b) {
  for (std::size_t i = 0; i < 4; ++i) a.parts[i] += b.parts[i];
  return a;
}
inline Ints operator-(Ints a, Ints b) {
  for (std::size_t i = 0; i < 4; ++i) a.parts[i] -= b.parts[i];
  return a;
}
inline Ints Larger(Ints a, Ints b) {
  for (std::size_t i = 0; i < 4; ++i)
    a.parts[i] = a.parts[i] > b.parts[i] ? a.parts[i] : b.parts[i];
  return a;
}
// A word holds a channel's four weights. The products of bytes 0 and 2, and of 1 and 3, are taken
// in 16 bits, where a pair's sum is at most 32512.
inline Ints MultiplyAdd(Ints sums, std::int32_t four, const std::int8_t* b) {
  const Halves a = reinterpret_cast<Halves>(Words{four, four, four, four});
  const Halves even = (a << 8) >> 8;
  const Halves odd = a >> 8;
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    const Words words = *reinterpret_cast<const UnalignedWords*>(b + i * sizeof(Words));
    const Halves w = reinterpret_cast<Halves>(words);
    const Words pairs = reinterpret_cast<Words>(((w << 8) >> 8) * even + (w >> 8) * odd);
    sums.parts[i] += ((pairs << 16) >> 16) + (pairs >> 16);
  }
  return sums;
}

inline Floats ToFloats(Ints a) {
  Floats b;
  for (std::size_t i = 0; i < 4; ++i) b.parts[i] = __builtin_convertvector(a.parts[i], Quad);
  return b;
}
inline Floats LoadFloats(const float* from) {
  Floats a;
  for (std::size_t i = 0; i < 4; ++i)
    a.parts[i] = *reinterpret_cast<const UnalignedQuad*>(from + 4 * i);
  return a;
}
inline Floats Splat(float value) {
  const Quad quad = {value, value, value, value};
  return {{quad, quad, quad, quad}};
}
inline Floats operator+(Floats a, Floats b) {
  for (std::size_t i = 0; i < 4; ++i) a.parts[i] += b.parts[i];
  return a;
}
inline Floats operator*(Floats a, Floats b) {
  for (std::size_t i = 0; i < 4; ++i) a.parts[i] *= b.parts[i];
  return a;
}
inline Floats operator/(Floats a, Floats b) {
  for (std::size_t i = 0; i < 4; ++i) a.parts[i] /= b.parts[i];
  return a;
}
inline Floats Clamp(Floats a, Floats low, Floats high) {
  for (std::size_t i = 0; i < 4; ++i) {
    const Quad above = a.parts[i] > low.parts[i] ? a.parts[i] : low.parts[i];
    a.parts[i] = above < high.parts[i] ? above : high.parts[i];
  }
  return a;
}
inline void StoreFloats(Floats a, float* to) {
  __builtin_memcpy(to, &a, sizeof(a));
}
// Adding and taking away 1.5 * 2^23 rounds half to even, as long as the value is below 2^22, which
// the clamp has ensured.
inline void StoreBytes(Floats a, std::int32_t zero_point, std::uint8_t* to) {
  constexpr float kRound = 12582912.0F;
  for (std::size_t i = 0; i < 16; ++i) {
    const float rounded = (a.parts[i / 4][i % 4] + kRound) - kRound;
    to[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(rounded) + zero_point);
  }
}

#endif

// Sixteen outputs, of which `count` are wanted.
inline void StoreSome(Floats a, std::int32_t zero_point, std::size_t count, std::uint8_t* to) {
  if (count >= kLanes) return StoreBytes(a, zero_point, to);
  std::uint8_t bytes[kLanes];
  StoreBytes(a, zero_point, bytes);
  for (std::size_t i = 0; i < count; ++i) to[i] = bytes[i];
}

}  // namespace
}  // namespace fl::nn::kernels
