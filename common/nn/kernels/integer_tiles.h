#pragma once

#include "fl/common/nn/kernels/integer_kernels.h"
#include "fl/common/nn/kernels/integer_lanes.h"

// The matrix product in tiles of rows x panels, whose sums stay in registers from the bias to the
// rounded byte.
namespace fl::nn::kernels {
namespace {

constexpr std::size_t kGroupBytes = kIntegerPanel * kIntegerGroup;

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

#if defined(FL_ISA_avx512vnni)

// Four vectors of values to 64 bytes, one after the other. What saturates is out of range anyway.
inline __m512i PackBytes(const Ints (&from)[4], __m512i zero_point) {
  const __m512i first = _mm512_adds_epi16(_mm512_packs_epi32(from[0].v, from[1].v), zero_point);
  const __m512i second = _mm512_adds_epi16(_mm512_packs_epi32(from[2].v, from[3].v), zero_point);
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
    Ints rounded[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const int at = first + k < ROWS * NP ? first + k : first;
      const __m512 value = _mm512_mul_ps(ToFloats(sums[at / NP][at % NP]).v,
                                         _mm512_loadu_ps(multiplier + at % NP * 16));
      rounded[k].v = _mm512_cvtps_epi32(_mm512_min_ps(value, high));
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

// The last product of a model: fp32, unrounded.
template <int ROWS, int NP>
void FinishFloats(const IntegerProduct& product, std::size_t row, std::size_t panel,
                  const Ints (&sums)[ROWS][NP]) {
  for (int i = 0; i < ROWS; ++i) {
    for (int p = 0; p < NP; ++p) {
      const std::size_t channel = (panel + static_cast<std::size_t>(p)) * kIntegerPanel;
      float values[kLanes];
      StoreFloats(ToFloats(sums[i][p]) * LoadFloats(product.to.multiplier + channel), values);
      float* to =
          product.result + (row + static_cast<std::size_t>(i)) * product.out_stride + channel;
      for (std::size_t c = 0; c < kLanes && channel + c < product.channels; ++c) to[c] = values[c];
    }
  }
}

template <int ROWS, int NP>
void Finish(const IntegerProduct& product, std::size_t row, std::size_t panel,
            const Ints (&sums)[ROWS][NP]) {
  if (product.result != nullptr) {
    FinishFloats<ROWS, NP>(product, row, panel, sums);
  } else {
    FinishBytes<ROWS, NP>(product, row, panel, sums);
  }
}

// MR rows and NP panels. With POOL > 1 so many rows become one.
template <int MR, int NP, int POOL>
void Tile(const IntegerProduct& product, std::size_t row, std::size_t panel) {
  const std::size_t panel_bytes = product.segments * product.segment_groups * kGroupBytes;
  const std::int8_t* b = product.b + panel * panel_bytes;
  const std::uint8_t* rows[MR];
  Ints sums[MR][NP];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    rows[i] = product.a + product.row_offsets[row + static_cast<std::size_t>(i)];
#pragma GCC unroll 8
    for (int p = 0; p < NP; ++p) {
      sums[i][p] =
          LoadInts(product.to.bias + (panel + static_cast<std::size_t>(p)) * kIntegerPanel);
    }
  }
  for (std::size_t segment = 0; segment < product.segments; ++segment) {
    std::size_t at = segment * product.segment_stride;
    for (std::size_t group = 0; group < product.segment_groups; ++group) {
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const std::int32_t four = FourOf(rows[i] + at);
#pragma GCC unroll 8
        for (int p = 0; p < NP; ++p) {
          sums[i][p] = MultiplyAdd(sums[i][p], four, b + static_cast<std::size_t>(p) * panel_bytes);
        }
      }
      at += kIntegerGroup;
      b += kGroupBytes;
    }
  }
  if constexpr (POOL == 1) {
    Finish<MR, NP>(product, row, panel, sums);
  } else {
    Ints largest[MR / POOL][NP];
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
      for (int p = 0; p < NP; ++p) {
        Ints& to = largest[i / POOL][p];
        to = i % POOL == 0 ? sums[i][p] : Larger(to, sums[i][p]);
      }
    }
    Finish<MR / POOL, NP>(product, row / POOL, panel, largest);
  }
}

// A row alone reads each weight once: several sums for each panel, so that none waits for itself.
template <int NP, int PARTS>
void SingleRow(const IntegerProduct& product, std::size_t row, std::size_t panel) {
  const std::size_t panel_bytes = product.segments * product.segment_groups * kGroupBytes;
  const std::int8_t* b = product.b + panel * panel_bytes;
  Ints sums[PARTS][NP];
#pragma GCC unroll 8
  for (int p = 0; p < NP; ++p) {
    const std::size_t channel = (panel + static_cast<std::size_t>(p)) * kIntegerPanel;
    sums[0][p] = LoadInts(product.to.bias + channel);
#pragma GCC unroll 8
    for (int k = 1; k < PARTS; ++k) sums[k][p] = SplatInts(0);
  }
  for (std::size_t segment = 0; segment < product.segments; ++segment) {
    const std::uint8_t* a = product.a + product.row_offsets[row] + segment * product.segment_stride;
    std::size_t group = 0;
    for (; group + PARTS <= product.segment_groups; group += PARTS) {
#pragma GCC unroll 8
      for (int k = 0; k < PARTS; ++k) {
        const std::int32_t four = FourOf(a);
#pragma GCC unroll 8
        for (int p = 0; p < NP; ++p) {
          sums[k][p] = MultiplyAdd(sums[k][p], four, b + static_cast<std::size_t>(p) * panel_bytes);
        }
        a += kIntegerGroup;
        b += kGroupBytes;
      }
    }
    for (; group < product.segment_groups; ++group) {
      const std::int32_t four = FourOf(a);
#pragma GCC unroll 8
      for (int p = 0; p < NP; ++p) {
        sums[0][p] = MultiplyAdd(sums[0][p], four, b + static_cast<std::size_t>(p) * panel_bytes);
      }
      a += kIntegerGroup;
      b += kGroupBytes;
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < NP; ++p) {
    Ints total[1][1] = {{sums[0][p]}};
#pragma GCC unroll 8
    for (int k = 1; k < PARTS; ++k) total[0][0] = total[0][0] + sums[k][p];
    Finish<1, 1>(product, row, panel + static_cast<std::size_t>(p), total);
  }
}

using TileFunction = void (*)(const IntegerProduct&, std::size_t, std::size_t);

#if defined(FL_ISA_avx512vnni)
constexpr int kRowsMax = 14;
constexpr int kPooledRowsMax = 12;
constexpr int kPanelsAtOnce = 2;
constexpr int kSinglePanels = 4;
#elif defined(FL_ISA_generic)
constexpr int kRowsMax = 2;
constexpr int kPooledRowsMax = 4;
constexpr int kPanelsAtOnce = 1;
constexpr int kSinglePanels = 1;
#else
constexpr int kRowsMax = 4;
constexpr int kPooledRowsMax = 4;
constexpr int kPanelsAtOnce = 1;
constexpr int kSinglePanels = 2;
#endif

// Tiles of 1, 2, ... MR rows.
template <int NP, int MR>
TileFunction TileOf(std::size_t rows) {
  if constexpr (MR > 1) {
    if (rows < static_cast<std::size_t>(MR)) return TileOf<NP, MR - 1>(rows);
  }
  return Tile<MR, NP, 1>;
}

template <int NP, int MR>
TileFunction PooledTileOf(std::size_t rows) {
  constexpr int kPool = static_cast<int>(kIntegerPool);
  if constexpr (MR > kPool) {
    if (rows < static_cast<std::size_t>(MR)) return PooledTileOf<NP, MR - kPool>(rows);
  }
  return Tile<MR, NP, kPool>;
}

inline void RunPanels(const IntegerProduct& product, std::size_t row, TileFunction several,
                      TileFunction one) {
  constexpr std::size_t kStep = static_cast<std::size_t>(kPanelsAtOnce);
  std::size_t panel = 0;
  for (; panel + kStep <= product.panels; panel += kStep) several(product, row, panel);
  for (; panel < product.panels; ++panel) one(product, row, panel);
}

inline void MultiplyRow(const IntegerProduct& product, std::size_t row) {
  constexpr std::size_t kStep = static_cast<std::size_t>(kSinglePanels);
  std::size_t panel = 0;
  for (; panel + kStep <= product.panels; panel += kStep) {
    SingleRow<kSinglePanels, 2>(product, row, panel);
  }
  for (; panel < product.panels; ++panel) SingleRow<1, 4>(product, row, panel);
}

// Rows in tiles of nearly equal height.
inline void Multiply(const IntegerProduct& product) {
  const std::size_t unit = product.pooled ? kIntegerPool : 1;
  const std::size_t most =
      static_cast<std::size_t>(product.pooled ? kPooledRowsMax : kRowsMax) / unit;
  const std::size_t units = product.rows / unit;
  const std::size_t blocks = (units + most - 1) / most;
  std::size_t done = 0;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t rows = (units - done) / (blocks - block) * unit;
    if (product.pooled) {
      RunPanels(product, done * unit, PooledTileOf<kPanelsAtOnce, kPooledRowsMax>(rows),
                PooledTileOf<1, kPooledRowsMax>(rows));
    } else if (rows == 1) {
      MultiplyRow(product, done);
    } else {
      RunPanels(product, done * unit, TileOf<kPanelsAtOnce, kRowsMax>(rows),
                TileOf<1, kRowsMax>(rows));
    }
    done += rows / unit;
  }
}

}  // namespace
}  // namespace fl::nn::kernels
