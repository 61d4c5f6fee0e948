#pragma once

// Sixteen lanes in four vectors that any processor can add. Included by integer_lanes.h alone.
#include <cstddef>
#include <cstdint>

namespace fl::nn::kernels {
namespace {

using Stored = std::int8_t;
inline constexpr std::int32_t kOffset = 0;
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
  for (std::size_t i = 0; i < 16; ++i) words[i] = (stored[i] ^ 0x80) - 0x80;
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
inline Words Dot(Halves a, Halves w) {
  const Words pairs =
      reinterpret_cast<Words>(((w << 8) >> 8) * ((a << 8) >> 8) + (w >> 8) * (a >> 8));
  return ((pairs << 16) >> 16) + (pairs >> 16);
}
inline Ints MultiplyAdd(Ints sums, std::int32_t four, const std::int8_t* b) {
  const Halves a = reinterpret_cast<Halves>(Words{four, four, four, four});
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    const Words words = *reinterpret_cast<const UnalignedWords*>(b + i * sizeof(Words));
    sums.parts[i] += Dot(a, reinterpret_cast<Halves>(words));
  }
  return sums;
}

// The four inputs of four groups for each quad of channels.
struct Gathered {
  Words quads[4];
};
inline Gathered Gather(const std::uint8_t* window, const std::uint8_t* places) {
  Gathered gathered;
  std::uint8_t bytes[64];
  for (std::size_t i = 0; i < 64; ++i) bytes[i] = window[places[i]];
  __builtin_memcpy(&gathered, bytes, sizeof(gathered));
  return gathered;
}
template <int GROUP>
Ints MultiplyAddGathered(Ints sums, const Gathered& gathered, const std::int8_t* b) {
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    const std::int32_t four = gathered.quads[i][GROUP];
    const Halves a = reinterpret_cast<Halves>(Words{four, four, four, four});
    const Words words = *reinterpret_cast<const UnalignedWords*>(b + i * sizeof(Words));
    sums.parts[i] += Dot(a, reinterpret_cast<Halves>(words));
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
// What is less than 0 becomes 0; NaN and -0 stay.
inline Floats Positive(Floats a) {
  for (std::size_t i = 0; i < 4; ++i) a.parts[i] = a.parts[i] < Quad{} ? Quad{} : a.parts[i];
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

}  // namespace
}  // namespace fl::nn::kernels
