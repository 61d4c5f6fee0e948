#include "fl/compression/codecs/largest_magnitudes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <utility>

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

// Values that may be among the largest: their indices, ascending, and the bits of their magnitudes.
struct Candidates {
  std::vector<std::uint32_t> indices;
  std::vector<std::uint32_t> magnitudes;
};

// Those whose magnitudes' bits are at least `least`.
Candidates CandidatesAbove(std::span<const float> values, std::uint32_t least,
                           std::size_t expected) {
  constexpr std::size_t kRun = 4096;
  std::array<std::uint32_t, kRun + kernels::kFindAboveSlack> found;
  Candidates candidates;
  const std::size_t room = std::min(values.size(), expected + expected / 2 + kRun);
  candidates.indices.reserve(room);
  candidates.magnitudes.reserve(room);
  for (std::size_t first = 0; first < values.size(); first += kRun) {
    const auto run = values.subspan(first, std::min(kRun, values.size() - first));
    const std::size_t count =
        kernels::FindAbove(run, least, static_cast<std::uint32_t>(first), found);
    for (const std::uint32_t index : std::span(found).first(count)) {
      candidates.indices.push_back(index);
      candidates.magnitudes.push_back(MagnitudeBits(values[index]));
    }
  }
  return candidates;
}

// Which magnitudes are kept: all above `bits`, and `ties` of those that equal it.
struct Threshold {
  std::uint32_t bits = 0;
  std::size_t ties = 0;
};

// A histogram over the upper digits of what lies between the extremes, then a selection among those
// that share the threshold's. 0 < keep <= magnitudes.size().
Threshold FindThreshold(std::span<const std::uint32_t> magnitudes, std::size_t keep) {
  constexpr unsigned kDigits = 11;
  const auto [least, most] = std::ranges::minmax(magnitudes);
  const auto width = static_cast<unsigned>(std::bit_width(most - least));
  const unsigned shift = width > kDigits ? width - kDigits : 0;
  std::array<std::size_t, 1U << kDigits> histogram{};
  for (const std::uint32_t bits : magnitudes) ++histogram[(bits - least) >> shift];
  std::uint32_t digit = (most - least) >> shift;
  for (; histogram[digit] < keep; --digit) keep -= histogram[digit];
  std::vector<std::uint32_t> near;
  for (const std::uint32_t bits : magnitudes) {
    if ((bits - least) >> shift == digit) near.push_back(bits);
  }
  const auto at = near.begin() + static_cast<std::ptrdiff_t>(keep) - 1;
  std::ranges::nth_element(near, at, std::greater());
  return {*at, static_cast<std::size_t>(std::count(near.begin(), at + 1, *at))};
}

// Leaves the indices of the `keep` largest of these.
void KeepLargest(std::span<const std::uint32_t> magnitudes, std::size_t keep,
                 std::vector<std::uint32_t>& indices) {
  if (indices.size() <= keep) return;
  Threshold threshold = FindThreshold(magnitudes, keep);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const bool tie = magnitudes[i] == threshold.bits && threshold.ties > 0;
    threshold.ties -= tie ? 1 : 0;
    indices[kept] = indices[i];  // Without a branch that the magnitudes decide.
    kept += tie || magnitudes[i] > threshold.bits ? 1 : 0;
  }
  indices.resize(kept);
}

}  // namespace

std::vector<std::uint32_t> LargestMagnitudes(std::span<const float> values, std::size_t keep) {
  if (keep == 0) return {};
  const std::uint32_t bound = SampledBound(values, keep);
  Candidates candidates = CandidatesAbove(values, bound, keep);
  if (candidates.indices.size() < keep && bound > 1)
    candidates = CandidatesAbove(values, 1, values.size());
  KeepLargest(candidates.magnitudes, keep, candidates.indices);
  return std::move(candidates.indices);
}

}  // namespace fl::internal
