#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// Random rotations of a row of values, block by block: any values come to look normally
// distributed, whatever they were. (Suresh et al. 2017, arXiv:1611.00429.) Exact sizes: as many
// values come out as went in. Thread safety: functions without state.
namespace fl {

inline constexpr std::size_t kRotationBlockMin = 64;
inline constexpr std::size_t kRotationBlockMax = 4096;
// Of a buffer that is rotated fastest: no vector crosses a cache line.
inline constexpr std::size_t kRotationAlignment = 64;

// The row cut into units that are rotated each on its own: whole blocks and, where the count is not
// a multiple of the block, what is left as a shorter one.
struct RotationUnits {
  std::size_t block = kRotationBlockMax;  // A power of two, kRotationBlockMin to kRotationBlockMax.
  std::size_t count = 0;

  std::size_t units() const { return (count + block - 1) / block; }
  std::size_t first(std::size_t unit) const { return unit * block; }
  std::size_t size(std::size_t unit) const;
};

// Rotates a unit of up to kRotationBlockMax values to `out`, as long and possibly the same. A power
// of two n of them:
//   H D values / sqrt(n)         H: Walsh-Hadamard in Sylvester's order, D: random signs
// Any other number n, m the largest power of two below it: the first m so, then the last m so, with
// signs of their own; together an orthonormal map without padding. The signs are words of
// RngStream(seed).Child("rotation", unit), lowest bit first, set: changed; a word for each 32
// values or part of them, those of the first map before those of the second.
void RotateUnit(std::uint32_t seed, std::size_t unit, std::span<const float> values,
                std::span<float> out);
// The inverse, but for rounding.
void RotateUnitBack(std::uint32_t seed, std::size_t unit, std::span<float> values);

// Calls use(unit, begin, end) for each unit that [first, first + count) touches: its part
// [begin, end) of the row lies inside.
template <typename Use>
void ForTouchedUnits(const RotationUnits& row, std::size_t first, std::size_t count, Use use) {
  if (count == 0) return;
  for (std::size_t unit = first / row.block; row.first(unit) < first + count; ++unit) {
    const std::size_t begin = row.first(unit) < first ? first : row.first(unit);
    const std::size_t unit_end = row.first(unit) + row.size(unit);
    use(unit, begin, unit_end < first + count ? unit_end : first + count);
  }
}

}  // namespace fl
