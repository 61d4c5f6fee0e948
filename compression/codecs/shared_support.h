#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/common/random/rng_stream.h"

namespace fl {

// The coordinates of a segment that are sent: whole blocks of `block` coordinates, the segment's
// last block shorter where the count is not a multiple. A coordinate's rank is how many kept ones
// come before it. Thread safety: distinct objects safe, const use of shared ones safe.
struct SharedSupport {
  std::size_t count = 0;  // Of the segment.
  std::size_t block = 1;
  std::vector<std::uint32_t> blocks;  // Ascending, below ceil(count / block), at least one.

  // How many coordinates are kept.
  std::size_t size() const;
  // How many of them are below `coordinate`, which may be the segment's count.
  std::size_t RankOf(std::size_t coordinate) const;

  // Calls use(rank, coordinate, length) for the runs of neighbours among the ranks [first, last).
  template <typename Use>
  void ForRuns(std::size_t first, std::size_t last, Use use) const {
    while (first < last) {
      const std::size_t inside = first % block;
      const std::size_t length = block - inside < last - first ? block - inside : last - first;
      use(first, blocks[first / block] * block + inside, length);
      first += length;
    }
  }
};

// How the clients of a round come to the same support: by a part of the round's parameters.
// Stateless and immutable. Thread safety: shared objects safe.
class SupportRule {
 public:
  virtual ~SupportRule() = default;

  // Blocks that are kept, of how many.
  virtual std::size_t kept_blocks() const = 0;
  virtual std::size_t all_blocks() const = 0;
  virtual std::size_t block() const = 0;
  // Whether the part follows from the aggregate, and not from its predecessor alone.
  virtual bool follows_aggregate() const = 0;

  // The size of a part, which is the same for all rounds.
  virtual std::size_t ParametersBytes() const = 0;
  virtual Bytes Initial() const = 0;
  // `aggregate`: of the whole segment.
  virtual Bytes Next(ByteSpan part, std::span<const float> aggregate) const = 0;
  // kept_blocks() blocks, ascending; kInvalidArgument when the part is none of this rule's.
  virtual Result<std::vector<std::uint32_t>> Choose(ByteSpan part) const = 0;
};

// `keep` of the numbers below `all`, ascending; each set of that size is as likely as any other.
// (Floyd's algorithm: Bentley & Floyd 1987.) For j = all - keep, ..., all - 1 a uniform integer
// below j + 1 is taken, or j where that was taken before.
std::vector<std::uint32_t> DrawSubset(RngStream rng, std::size_t all, std::size_t keep);

}  // namespace fl
