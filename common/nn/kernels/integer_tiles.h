#pragma once

#include "fl/common/nn/kernels/integer_finish.h"
#include "fl/common/nn/kernels/integer_kernels.h"
#include "fl/common/nn/kernels/integer_lanes.h"

// The matrix product in tiles of rows x panels, whose sums stay in registers from the bias to the
// rounded byte.
namespace fl::nn::kernels {
namespace {

inline constexpr std::size_t kGroupBytes = kIntegerPanel * kIntegerGroup;

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

#if defined(__AVX512VNNI__)
inline constexpr int kRowsMax = 14;
inline constexpr int kPooledRowsMax = 12;
inline constexpr int kPanelsAtOnce = 2;
inline constexpr int kSinglePanels = 4;
#elif defined(FL_ISA_generic)
inline constexpr int kRowsMax = 2;
inline constexpr int kPooledRowsMax = 4;
inline constexpr int kPanelsAtOnce = 1;
inline constexpr int kSinglePanels = 1;
#else
inline constexpr int kRowsMax = 4;
inline constexpr int kPooledRowsMax = 4;
inline constexpr int kPanelsAtOnce = 1;
inline constexpr int kSinglePanels = 2;
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
