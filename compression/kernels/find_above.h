#pragma once

#include <cstdint>
#include <span>

namespace fl::kernels {

// What FindAbove may write beyond the last index that it finds.
inline constexpr std::size_t kFindAboveSlack = 64;

// Magnitude as bits: they order as the magnitudes do.
inline constexpr std::uint32_t kMagnitudeMask = 0x7FFFFFFFU;

// out[j] = first + i for each i, ascending, whose magnitude's bits are at least `least`; gives back
// how many. Needs out.size() >= values.size() + kFindAboveSlack. Exact.
std::size_t FindAbove(std::span<const float> values, std::uint32_t least, std::uint32_t first,
                      std::span<std::uint32_t> out);
std::size_t FindAboveReference(std::span<const float> values, std::uint32_t least,
                               std::uint32_t first, std::span<std::uint32_t> out);

}  // namespace fl::kernels
