#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fl::internal {

// Indices, ascending, of the `keep` largest magnitudes that are not zero (fewer where there are
// fewer); of equal ones at the border, the lower indices. Exact. The values are read once: a bound
// from a small sample leaves out nearly all that cannot be among them, and the rest is settled by a
// histogram of the floats' bits. Where the sample misleads, all are read again. O(values.size()).
std::vector<std::uint32_t> LargestMagnitudes(std::span<const float> values, std::size_t keep);

}  // namespace fl::internal
