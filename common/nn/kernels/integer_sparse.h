#pragma once

#include "fl/common/nn/kernels/integer_finish.h"
#include "fl/common/nn/kernels/integer_kernels.h"
#include "fl/common/nn/kernels/integer_lanes.h"

// The product with weights of which only blocks of 4 output channels x 1 input are kept
// (SparseWeights). A chunk's inputs are gathered from a window once, then multiplied like a dense
// panel's.
namespace fl::nn::kernels {
namespace {

// Up to which share of the weights the sparse kernel is no slower: for a row alone, and for rows in
// tiles. Measured on 3136 x 512, which stays in the cache, and on pixels of 128 to 1024 channels;
// for Arm, where nothing was measured, the least of the others.
#if defined(__AVX512VBMI__)
inline constexpr float kSparseShareRow = 0.6F;
inline constexpr float kSparseShareRows = 0.42F;
#elif defined(__AVX512VNNI__)
inline constexpr float kSparseShareRow = 0.6F;
inline constexpr float kSparseShareRows = 0.13F;
#elif defined(FL_ISA_avxvnni)
inline constexpr float kSparseShareRow = 0.3F;
inline constexpr float kSparseShareRows = 0.15F;
#elif defined(FL_ISA_avx2)
inline constexpr float kSparseShareRow = 0.3F;
inline constexpr float kSparseShareRows = 0.3F;
#elif defined(FL_ISA_generic)
inline constexpr float kSparseShareRow = 0.5F;
inline constexpr float kSparseShareRows = 0.4F;
#else
inline constexpr float kSparseShareRow = 0.3F;
inline constexpr float kSparseShareRows = 0.13F;
#endif
#if defined(__AVX512VNNI__)
inline constexpr int kSparseRows = 8;
#elif defined(FL_ISA_generic)
inline constexpr int kSparseRows = 1;
#else
inline constexpr int kSparseRows = 2;
#endif

inline void SparseRow(const IntegerProduct& product, const SparseWeights& sparse, std::size_t row,
                      std::size_t panel) {
  const std::uint8_t* a = product.a + product.row_offsets[row];
  const std::size_t end = sparse.panel_ends[panel];
  Ints sums[4] = {LoadInts(product.to.bias + panel * kIntegerPanel), SplatInts(0), SplatInts(0),
                  SplatInts(0)};
  for (std::size_t i = panel == 0 ? 0 : sparse.panel_ends[panel - 1]; i < end; ++i) {
    const Gathered gathered = Gather(a + sparse.first[i], sparse.places + i * kSparsePlaces);
    const std::int8_t* b = sparse.weights + i * kSparsePlaces * kIntegerGroup;
    sums[0] = MultiplyAddGathered<0>(sums[0], gathered, b);
    sums[1] = MultiplyAddGathered<1>(sums[1], gathered, b + 64);
    sums[2] = MultiplyAddGathered<2>(sums[2], gathered, b + 128);
    sums[3] = MultiplyAddGathered<3>(sums[3], gathered, b + 192);
  }
  const Ints total[1][1] = {{(sums[0] + sums[1]) + (sums[2] + sums[3])}};
  Finish<1, 1>(product, row, panel, total);
}

// Several rows, which read a chunk's weights once; each has one sum, so that none waits for itself.
template <int ROWS>
void SparseRows(const IntegerProduct& product, const SparseWeights& sparse, std::size_t row,
                std::size_t panel) {
  const std::uint8_t* rows[ROWS];
  Ints sums[ROWS][1];
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i) {
    rows[i] = product.a + product.row_offsets[row + static_cast<std::size_t>(i)];
    sums[i][0] = LoadInts(product.to.bias + panel * kIntegerPanel);
  }
  const std::size_t end = sparse.panel_ends[panel];
  for (std::size_t chunk = panel == 0 ? 0 : sparse.panel_ends[panel - 1]; chunk < end; ++chunk) {
    const std::size_t first = sparse.first[chunk];
    const std::uint8_t* places = sparse.places + chunk * kSparsePlaces;
    const std::int8_t* b = sparse.weights + chunk * kSparsePlaces * kIntegerGroup;
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
      const Gathered gathered = Gather(rows[i] + first, places);
      sums[i][0] = MultiplyAddGathered<0>(sums[i][0], gathered, b);
      sums[i][0] = MultiplyAddGathered<1>(sums[i][0], gathered, b + 64);
      sums[i][0] = MultiplyAddGathered<2>(sums[i][0], gathered, b + 128);
      sums[i][0] = MultiplyAddGathered<3>(sums[i][0], gathered, b + 192);
    }
  }
  Finish<ROWS, 1>(product, row, panel, sums);
}

// A panel's chunks stay in the cache for all rows.
inline void MultiplySparse(const IntegerProduct& product, const SparseWeights& sparse) {
  for (std::size_t panel = 0; panel < product.panels; ++panel) {
    std::size_t row = 0;
    if constexpr (kSparseRows > 1) {
      for (; row + kSparseRows <= product.rows; row += kSparseRows)
        SparseRows<kSparseRows>(product, sparse, row, panel);
    }
    if constexpr (kSparseRows > 4) {
      for (; row + 4 <= product.rows; row += 4) SparseRows<4>(product, sparse, row, panel);
    }
    for (; row < product.rows; ++row) SparseRow(product, sparse, row, panel);
  }
}

}  // namespace
}  // namespace fl::nn::kernels
