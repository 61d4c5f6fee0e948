#pragma once

#include "fl/common/nn/kernels/integer_kernels.h"
#include "fl/common/nn/kernels/integer_lanes.h"

// What becomes of a tile's sums: rounded bytes, or fp32 from a model's last product.
namespace fl::nn::kernels {
namespace {

// A tile's sums, one vector for each row (or pooled row) and panel, to where they belong.
template <int ROWS, int NP>
void FinishTile(const IntegerProduct& product, std::size_t row, std::size_t panel,
                const Ints (&sums)[ROWS][NP]) {
  const Floats low = Splat(product.to.low);
  const Floats high = Splat(product.to.high);
#pragma GCC unroll 8
  for (int p = 0; p < NP; ++p) {
    const std::size_t channel = (panel + static_cast<std::size_t>(p)) * kIntegerPanel;
    const std::size_t count =
        channel + kLanes <= product.channels ? kLanes : product.channels - channel;
    const Floats multiplier = LoadFloats(product.to.multiplier + channel);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      const std::size_t at = (row + static_cast<std::size_t>(i)) * product.out_stride + channel;
      const Floats value = ToFloats(sums[i][p]) * multiplier;
      StoreSome(Clamp(value, low, high), product.to.zero_point, count, product.out + at);
    }
  }
}

#if defined(__AVX512VNNI__)

// Four vectors of values to 64 bytes, one after the other. What saturates is out of range anyway.
inline __m512i PackBytes(const __m512i (&from)[4], __m512i zero_point) {
  const __m512i first = _mm512_adds_epi16(_mm512_packs_epi32(from[0], from[1]), zero_point);
  const __m512i second = _mm512_adds_epi16(_mm512_packs_epi32(from[2], from[3]), zero_point);
  // Each 128 bits hold four bytes of each vector: a transposition of words puts them together.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, _mm512_packus_epi16(first, second));
}

// Rows of up to 32 channels as bytes, four vectors at a time; each row's bytes are stored with a
// mask.
template <int ROWS, int NP>
void FinishBytes(const IntegerProduct& product, std::size_t row, std::size_t panel,
                 const Ints (&sums)[ROWS][NP]) {
  static_assert(NP <= 2);
  const std::size_t channel = panel * kIntegerPanel;
  const std::size_t left = product.channels - channel;
  const __mmask32 mask = left >= NP * kLanes ? (NP == 2 ? ~0U : 0xFFFFU) : (1U << left) - 1;
  const __m512i zero_point = _mm512_set1_epi16(static_cast<std::int16_t>(product.to.zero_point));
  const __m512 high = _mm512_set1_ps(product.to.high);
  const int least = static_cast<int>(product.to.low) + product.to.zero_point;
  const __m512i low = _mm512_set1_epi8(static_cast<char>(least));
  const float* multiplier = product.to.multiplier + channel;
  std::uint8_t* out = product.out + row * product.out_stride + channel;
#pragma GCC unroll 16
  for (int first = 0; first < ROWS * NP; first += 4) {
    __m512i rounded[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const int at = first + k < ROWS * NP ? first + k : first;
      const __m512 value = _mm512_mul_ps(ToFloats(sums[at / NP][at % NP]),
                                         _mm512_loadu_ps(multiplier + at % NP * 16));
      rounded[k] = _mm512_cvtps_epi32(_mm512_min_ps(value, high));
    }
    const __m512i bytes = _mm512_max_epu8(PackBytes(rounded, zero_point), low);
    constexpr int kRows = 4 / NP;
    const __m256i halves[2] = {_mm512_castsi512_si256(bytes), _mm512_extracti64x4_epi64(bytes, 1)};
#pragma GCC unroll 4
    for (int k = 0; k < kRows; ++k) {
      if (first / NP + k >= ROWS) continue;
      __m256i part = halves[k * NP / 2];
      if (NP == 1 && k % 2 == 1) part = _mm256_castsi128_si256(_mm256_extracti128_si256(part, 1));
      _mm256_mask_storeu_epi8(out, mask, part);
      out += product.out_stride;
    }
  }
}

#else

template <int ROWS, int NP>
void FinishBytes(const IntegerProduct& product, std::size_t row, std::size_t panel,
                 const Ints (&sums)[ROWS][NP]) {
  FinishTile<ROWS, NP>(product, row, panel, sums);
}

#endif

// fp32, unrounded; `at` says which multipliers.
inline Floats ResultOf(Ints sums, const float* multiplier, const FloatResult& result,
                       std::size_t at) {
  Floats value = ToFloats(sums) * LoadFloats(multiplier + at);
  if (result.shift != nullptr) value = value + LoadFloats(result.shift + at);
  return result.relu ? Positive(value) : value;
}

// Rows of `panels` sums each, from memory: once for all sizes of tiles, which keeps programs small.
[[gnu::noinline]] inline void FinishFloats(const IntegerProduct& product, std::size_t row,
                                           std::size_t panel, std::size_t rows, std::size_t panels,
                                           const Ints* sums) {
  for (std::size_t p = 0; p < panels; ++p) {
    const std::size_t channel = (panel + p) * kIntegerPanel;
    float* to = product.result.values + row * product.out_stride + channel;
    for (std::size_t i = 0; i < rows; ++i, to += product.out_stride) {
      StoreSomeFloats(
          ResultOf(sums[i * panels + p], product.to.multiplier, product.result, channel),
          product.channels - channel, to);
    }
  }
}

template <int ROWS, int NP>
void Finish(const IntegerProduct& product, std::size_t row, std::size_t panel,
            const Ints (&sums)[ROWS][NP]) {
  if (product.result.values != nullptr) {
    // A copy, so that the sums themselves need no memory.
    Ints copied[ROWS * NP];
#pragma GCC unroll 32
    for (int i = 0; i < ROWS * NP; ++i) copied[i] = sums[i / NP][i % NP];
    FinishFloats(product, row, panel, ROWS, NP, copied);
  } else {
    FinishBytes<ROWS, NP>(product, row, panel, sums);
  }
}

}  // namespace
}  // namespace fl::nn::kernels
