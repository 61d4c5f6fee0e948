#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fl/compression/deploy/search/pareto.h"

namespace fl::deploy {

// How good the accuracies of lists are that got about the same training.
struct AccuracySpread {
  double mean = 0;
  double deviation = 0;
};

// Of at least one.
AccuracySpread SpreadOf(std::span<const double> accuracies);

// Bytes and time of lists that were drawn at random, whose accuracies nobody knows: what a model
// has to be smaller and faster than. Each drawn structure stands there once for each number of bits
// that a list may have. Thread safety: const methods safe.
class DrawnSizes {
 public:
  // `sizes`: of structures with weights of `bits`; each counts with every one of `all_bits`, its
  // bytes in proportion (what is no weight is little).
  DrawnSizes(std::span<const Objectives> sizes, std::uint8_t bits,
             std::span<const std::uint8_t> all_bits);

  // The share of them that are neither smaller nor faster; 0 where there are none.
  double ShareBehind(const Objectives& point) const;

  // The share that a point may be expected to dominate: those behind it, where accuracies are as
  // much below it as normal ones of such a spread would be.
  double ExpectedShare(const Objectives& point, const AccuracySpread& spread) const;

 private:
  std::vector<Objectives> sizes_;
};

}  // namespace fl::deploy
