#pragma once

#include "fl/common/nn/kernels/integer_finish.h"
#include "fl/common/nn/kernels/integer_kernels.h"
#include "fl/common/nn/kernels/integer_lanes.h"

// The product with weights of which only blocks of 4 output channels x 1 input are kept
// (SparseWeights). A chunk's inputs are gathered from a window once, then multiplied like a dense
// panel's.
namespace fl::nn::kernels {
namespace {

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

// A panel's chunks stay in the cache for all rows.
inline void MultiplySparse(const IntegerProduct& product, const SparseWeights& sparse) {
  for (std::size_t panel = 0; panel < product.panels; ++panel) {
    for (std::size_t row = 0; row < product.rows; ++row) SparseRow(product, sparse, row, panel);
  }
}

}  // namespace
}  // namespace fl::nn::kernels
