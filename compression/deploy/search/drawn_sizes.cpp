#include "fl/compression/deploy/search/drawn_sizes.h"

#include <algorithm>
#include <cmath>

#include "fl/common/base/check.h"

namespace fl::deploy {

AccuracySpread SpreadOf(std::span<const double> accuracies) {
  FL_CHECK(!accuracies.empty(), "a spread of something");
  constexpr double kDeviationMin = 1e-3;  // Of a share: a tenth of a point.
  const auto count = static_cast<double>(accuracies.size());
  double sum = 0;
  for (const double accuracy : accuracies) sum += accuracy;
  const double mean = sum / count;
  double squares = 0;
  for (const double accuracy : accuracies) squares += (accuracy - mean) * (accuracy - mean);
  return {mean, std::max(kDeviationMin, std::sqrt(squares / count))};
}

DrawnSizes::DrawnSizes(std::span<const Objectives> sizes, std::uint8_t bits,
                       std::span<const std::uint8_t> all_bits) {
  for (const Objectives& size : sizes) {
    for (const std::uint8_t other : all_bits) {
      Objectives scaled = size;
      scaled.bytes = size.bytes * other / bits;
      sizes_.push_back(scaled);
    }
  }
}

double DrawnSizes::ShareBehind(const Objectives& point) const {
  if (sizes_.empty()) return 0;
  const auto behind = std::ranges::count_if(sizes_, [&](const Objectives& size) {
    return size.bytes >= point.bytes && size.microseconds >= point.microseconds;
  });
  return static_cast<double>(behind) / static_cast<double>(sizes_.size());
}

double DrawnSizes::ExpectedShare(const Objectives& point, const AccuracySpread& spread) const {
  const double below =
      0.5 * std::erfc((spread.mean - point.accuracy) / (spread.deviation * std::sqrt(2.0)));
  return ShareBehind(point) * below;
}

}  // namespace fl::deploy
