#include "fl/compression/codecs/shared_support.h"

#include <algorithm>

#include "fl/common/base/check.h"

namespace fl {

std::size_t SharedSupport::size() const {
  return RankOf(count);
}

std::size_t SharedSupport::RankOf(std::size_t coordinate) const {
  const auto found = std::ranges::lower_bound(blocks, coordinate / block);
  const auto before = static_cast<std::size_t>(found - blocks.begin()) * block;
  if (found != blocks.end()) {
    return *found == coordinate / block ? before + coordinate % block : before;
  }
  // The segment's last block may be kept and shorter.
  const std::size_t end = (std::size_t{blocks.back()} + 1) * block;
  return end > count ? before - (end - count) : before;
}

std::vector<std::uint32_t> DrawSubset(RngStream rng, std::size_t all, std::size_t keep) {
  FL_CHECK(keep <= all, "a subset is no larger than its set");
  std::vector<bool> taken(all);
  for (std::size_t j = all - keep; j < all; ++j) {
    const auto drawn = static_cast<std::size_t>(rng.UniformInteger(j + 1));
    taken[taken[drawn] ? j : drawn] = true;
  }
  std::vector<std::uint32_t> subset;
  subset.reserve(keep);
  for (std::size_t i = 0; i < all; ++i) {
    if (taken[i]) subset.push_back(static_cast<std::uint32_t>(i));
  }
  return subset;
}

}  // namespace fl
