#pragma once

#include <cstddef>
#include <cstdint>

#include "fl/common/base/result.h"
#include "fl/compression/stage.h"

namespace fl {

// The root of a value in (0, 1], by halving the interval: multiplications and comparisons alone
// round the same everywhere, which std::pow does not.
double ExactRoot(double value, std::uint32_t degree);

// `top_k F% [warmup=N [from=P%]]`: which share of a segment's values is kept. With a warm-up it
// falls exponentially, from P % in round 1 to F % in round N + 1 and after, so that the model's
// early and large changes arrive while what is held back is still little (Lin et al. 2018,
// arXiv:1712.01887: warmup=4 from=25% to 0.1 % is their 25, 6.3, 1.6, 0.4, 0.1 %).
struct KeptShare {
  double share = 1;          // After the warm-up, in (0, 1].
  std::uint32_t warmup = 0;  // Rounds with more; 0: none.
  double from = 0.25;        // Of round 1, with a warm-up; in [share, 1].
  double factor = 1;         // From a warm-up's round to the next; SetFactor's.

  // The warmup-th root of share / from, by exact arithmetic, so that it is the same on every
  // machine.
  void SetFactor();

  // Round 0 is an unknown one: as after the warm-up.
  double AtRound(std::uint64_t round) const;
  double Largest() const { return warmup > 0 ? from : share; }

  // How many of `count` values are kept: rounded up, at least one.
  std::size_t CountAtRound(std::uint64_t round, std::size_t count) const;
  std::size_t LargestCount(std::size_t count) const;
};

// What a top_k stage asks for. kInvalidArgument: a share outside (0, 100] %, a warm-up outside 1 to
// 10000 rounds, one that would begin below the share it ends with.
Result<KeptShare> ReadTopK(const Stage& stage);

}  // namespace fl
