#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/nn/internal/aligned_buffer.h"
#include "fl/common/nn/kernels/integer_kernels.h"

namespace fl::nn::internal {

// The blocks of 4 output channels x 1 input that are not all zero, as the sparse kernel reads them
// (kernels::SparseWeights).
class SparsePanels {
 public:
  // `weight` is output channels x depth. Chunks are filled greedily: each begins at the first
  // input that is left in any quad of its panel, and every quad adds what it has within the window.
  // Depth must be at least kSparseWindow. kLimitExceeded when the memory is not there.
  static Result<SparsePanels> Pack(std::span<const std::int8_t> weight, std::size_t depth);

  kernels::SparseWeights view() const {
    return {panel_ends_.data(), first_.data(), places_.data(), weights_.data()};
  }
  // Weights that are multiplied, as a share of those of dense panels: more than the density, since
  // not every chunk is full.
  double share() const { return share_; }

 private:
  std::vector<std::uint32_t> panel_ends_;
  std::vector<std::uint32_t> first_;
  AlignedBuffer<std::uint8_t> places_;
  AlignedBuffer<std::int8_t> weights_;
  double share_ = 0;
};

// What SparsePanels::share() of these weights is at least, found much faster: the blocks that are
// not zero, as a share of all.
double LeastShare(std::span<const std::int8_t> weight, std::size_t depth);

}  // namespace fl::nn::internal
