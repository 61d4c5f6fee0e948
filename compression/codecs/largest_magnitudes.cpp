#include "fl/compression/codecs/largest_magnitudes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>

#include "fl/compression/kernels/find_above.h"

namespace fl::internal {
namespace {

std::uint32_t MagnitudeBits(float value) {
  return std::bit_cast<std::uint32_t>(value) & kernels::kMagnitudeMask;
}

// Bits of a magnitude that `keep` values reach and not many more, with a high chance; 1, which all
// but zeros reach, where a sample would not pay.
std::uint32_t SampledBound(std::span<const float> values, std::size_t keep) {
  constexpr std::size_t kSample = 16384;
  if (values.size() < 8 * kSample) return 1;
  const std::size_t stride = (values.size() / kSample - 1) | 1U;  // Odd: no axis has it as extent.
  std::vector<std::uint32_t> sample(kSample);
  for (std::size_t i = 0; i < kSample; ++i) sample[i] = MagnitudeBits(values[i * stride]);
  const double expected =
      static_cast<double>(kSample) * static_cast<double>(keep) / static_cast<double>(values.size());
  const double rank = expected + 4 * std::sqrt(expected) + 4;  // Four standard deviations.
  if (rank >= static_cast<double>(kSample)) return 1;
  const auto at = sample.begin() + static_cast<std::ptrdiff_t>(rank);
  std::ranges::nth_element(sample, at, std::greater());
  return std::max(*at, 1U);
}

// Indices, ascending, of the magnitudes whose bits are at least `least`.
std::vector<std::uint32_t> IndicesAbove(std::span<const float> values, std::uint32_t least,
                                        std::size_t expected) {
  constexpr std::size_t kRun = 4096;
  std::array<std::uint32_t, kRun + kernels::kFindAboveSlack> found;
  std::vector<std::uint32_t> indices;
  indices.reserve(std::min(values.size(), expected + expected / 2 + kRun));
  for (std::size_t first = 0; first < values.size(); first += kRun) {
    const auto run = values.subspan(first, std::min(kRun, values.size() - first));
    const std::size_t count =
        kernels::FindAbove(run, least, static_cast<std::uint32_t>(first), found);
    indices.insert(indices.end(), found.begin(),
                   found.begin() + static_cast<std::ptrdiff_t>(count));
  }
  return indices;
}

// Which magnitudes are kept: all above `bits`, and `ties` of those that equal it.
struct Threshold {
  std::uint32_t bits = 0;
  std::size_t ties = 0;
};

// Goes down the bits of the threshold 11, 10 and 10 at a time: a histogram over the digit of those
// that share the digits found so far. keep <= magnitudes.size().
Threshold FindThreshold(std::span<const std::uint32_t> magnitudes, std::size_t keep) {
  constexpr std::array<unsigned, 3> kShift = {20, 10, 0};
  std::uint32_t prefix = 0;
  std::uint32_t prefix_mask = 0;
  for (const unsigned shift : kShift) {
    const std::uint32_t digit_max = shift == 20 ? 0x7FFU : 0x3FFU;
    std::array<std::size_t, 2048> histogram{};
    for (const std::uint32_t bits : magnitudes) {
      if ((bits & prefix_mask) == prefix) ++histogram[(bits >> shift) & digit_max];
    }
    std::uint32_t digit = digit_max;
    for (; digit > 0 && histogram[digit] < keep; --digit) keep -= histogram[digit];
    prefix |= digit << shift;
    prefix_mask |= digit_max << shift;
  }
  return {prefix, keep};
}

// Leaves the `keep` largest of these.
void KeepLargest(std::span<const float> values, std::size_t keep,
                 std::vector<std::uint32_t>& indices) {
  if (indices.size() <= keep) return;
  std::vector<std::uint32_t> magnitudes(indices.size());
  for (std::size_t i = 0; i < indices.size(); ++i)
    magnitudes[i] = MagnitudeBits(values[indices[i]]);
  Threshold threshold = FindThreshold(magnitudes, keep);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const bool tie = magnitudes[i] == threshold.bits && threshold.ties > 0;
    if (tie) --threshold.ties;
    if (tie || magnitudes[i] > threshold.bits) indices[kept++] = indices[i];
  }
  indices.resize(kept);
}

}  // namespace

std::vector<std::uint32_t> LargestMagnitudes(std::span<const float> values, std::size_t keep) {
  if (keep == 0) return {};
  const std::uint32_t bound = SampledBound(values, keep);
  std::vector<std::uint32_t> indices = IndicesAbove(values, bound, keep);
  if (indices.size() < keep && bound > 1) indices = IndicesAbove(values, 1, values.size());
  KeepLargest(values, keep, indices);
  return indices;
}

}  // namespace fl::internal
