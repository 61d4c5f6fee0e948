#include "fl/common/nn/choose_range.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "fl/common/base/check.h"

namespace fl::nn {
namespace {

constexpr int kClips = 100;

double Low(const Histogram& histogram) {
  return static_cast<double>(histogram.low());
}
double High(const Histogram& histogram) {
  return static_cast<double>(histogram.high());
}

ActivationRange Clipped(const Histogram& histogram, double magnitude) {
  return {static_cast<float>(std::max(Low(histogram), -magnitude)),
          static_cast<float>(std::min(High(histogram), magnitude))};
}

// Of 2^bits levels over a range, zero among them (a zero loses nothing).
double SquaredError(const Histogram& histogram, const ActivationRange& range, double levels) {
  const auto low = static_cast<double>(range.low);
  const auto high = static_cast<double>(range.high);
  const double step = std::max((high - low) / (levels - 1), std::numeric_limits<double>::min());
  const double zero = std::nearbyint(-low / step);
  double error = 0;
  for (std::size_t i = 0; i < Histogram::kBins; ++i) {
    const std::uint64_t bin = histogram.bins()[i];
    if (bin == 0) continue;
    const double value = histogram.Middle(i);
    const double code = std::clamp(std::nearbyint(value / step) + zero, 0.0, levels - 1);
    const double lost = value - (code - zero) * step;
    error += static_cast<double>(bin) * lost * lost;
  }
  return error;
}

ActivationRange BySquaredError(const Histogram& histogram, const RangeOptions& options) {
  const double levels = std::ldexp(1.0, static_cast<int>(options.bits));
  const double reach = std::max(-Low(histogram), High(histogram));
  const double least_share = options.bits < 8 ? 0.1 : 0.5;
  const auto range_at = [&](double share) {
    return options.symmetric ? ActivationRange{static_cast<float>(-reach * share),
                                               static_cast<float>(reach * share)}
                             : Clipped(histogram, reach * share);
  };
  double least = std::numeric_limits<double>::infinity();
  ActivationRange best = range_at(1);
  for (int i = 0; i < kClips; ++i) {
    const ActivationRange range = range_at(1 - (1 - least_share) * i / (kClips - 1));
    const double error = SquaredError(histogram, range, levels);
    if (error >= least) continue;
    least = error;
    best = range;
  }
  return best;
}

// Counts of magnitudes: bin i over [i * width, (i + 1) * width). Zeros are not among them.
std::vector<double> Magnitudes(const Histogram& histogram) {
  std::vector<double> magnitudes(Histogram::kBins, 0.0);
  for (std::size_t i = 0; i < Histogram::kBins; ++i) {
    const std::int64_t bin = histogram.first() + static_cast<std::int64_t>(i);
    const auto at = static_cast<std::size_t>(bin >= 0 ? bin : -1 - bin);
    // A single value at the window's very end may fall one beyond: it counts with its neighbours.
    magnitudes[std::min(at, Histogram::kBins - 1)] += static_cast<double>(histogram.bins()[i]);
  }
  return magnitudes;
}

ActivationRange ByPercentile(const Histogram& histogram, const RangeOptions& options) {
  const double fallback = options.bits < 8 ? 99.9 : 99.99;
  const double percentile = options.percentile > 0 ? options.percentile : fallback;
  const double wanted = percentile / 100 * static_cast<double>(histogram.count());
  double within = static_cast<double>(histogram.zeros());
  const std::vector<double> magnitudes = Magnitudes(histogram);
  for (std::size_t i = 0; i < magnitudes.size(); ++i) {
    within += magnitudes[i];
    if (within >= wanted) return Clipped(histogram, static_cast<double>(i + 1) * histogram.width());
  }
  return {histogram.low(), histogram.high()};
}

// KL(P, Q) of the first `cut` bins for so many merged levels.
double Divergence(std::span<const double> magnitudes, std::size_t cut, std::size_t levels) {
  std::vector<double> p(magnitudes.begin(), magnitudes.begin() + static_cast<std::ptrdiff_t>(cut));
  for (std::size_t i = cut; i < magnitudes.size(); ++i) p.back() += magnitudes[i];
  std::vector<double> q(cut, 0.0);
  double p_sum = 0;
  double q_sum = 0;
  for (std::size_t level = 0; level < levels; ++level) {
    const std::size_t first = level * cut / levels;
    const std::size_t last = (level + 1) * cut / levels;
    double sum = 0;
    double occupied = 0;
    for (std::size_t i = first; i < last; ++i) {
      sum += magnitudes[i];  // Without what is cut: P has it, Q does not.
      occupied += magnitudes[i] > 0 ? 1 : 0;
    }
    for (std::size_t i = first; i < last; ++i) q[i] = magnitudes[i] > 0 ? sum / occupied : 0;
    q_sum += sum;
  }
  for (const double value : p) p_sum += value;
  if (!(p_sum > 0) || !(q_sum > 0)) return std::numeric_limits<double>::infinity();
  // Where Q says never and P does not, the divergence would be infinite: a small share instead, as
  // all implementations do.
  constexpr double kNever = 1e-4;
  double divergence = 0;
  for (std::size_t i = 0; i < cut; ++i) {
    if (p[i] <= 0) continue;
    const double from = p[i] / p_sum;
    divergence += from * std::log(from / std::max(q[i] / q_sum, kNever / static_cast<double>(cut)));
  }
  return divergence;
}

ActivationRange ByEntropy(const Histogram& histogram, const RangeOptions& options) {
  const std::size_t levels = std::size_t{1} << (options.bits - 1);
  const std::vector<double> magnitudes = Magnitudes(histogram);
  std::size_t used = magnitudes.size();
  while (used > 0 && magnitudes[used - 1] <= 0) --used;
  double least = std::numeric_limits<double>::infinity();
  std::size_t best = used;
  for (std::size_t cut = std::max<std::size_t>(levels, 1); cut <= used; ++cut) {
    const double divergence = Divergence(std::span(magnitudes).first(used), cut, levels);
    if (divergence >= least) continue;
    least = divergence;
    best = cut;
  }
  return Clipped(histogram, static_cast<double>(best) * histogram.width());
}

ActivationRange ByMethod(const Histogram& histogram, const RangeOptions& options) {
  if (histogram.count() == histogram.zeros()) return {histogram.low(), histogram.high()};
  switch (options.method) {
    case RangeMethod::kSquaredError:
      return BySquaredError(histogram, options);
    case RangeMethod::kPercentile:
      return ByPercentile(histogram, options);
    case RangeMethod::kEntropy:
      return ByEntropy(histogram, options);
    case RangeMethod::kMinMax:
    case RangeMethod::kMovingAverage:
      break;
  }
  FL_CHECK(options.method == RangeMethod::kMinMax, "a moving average needs the values' order");
  return {histogram.low(), histogram.high()};
}

}  // namespace

Result<> RangeOptions::Validate() const {
  if (bits < 2 || bits > 8) {
    return Error{ErrorCode::kInvalidArgument,
                 "calibration: expected 2 to 8 bits an activation, found " + std::to_string(bits)};
  }
  if (percentile != 0 && !(percentile > 50 && percentile <= 100)) {
    return Error{
        ErrorCode::kInvalidArgument,
        "calibration: expected a percentile in (50, 100], found " + std::to_string(percentile)};
  }
  return {};
}

ActivationRange ChooseRange(const Histogram& histogram, const RangeOptions& options) {
  const ActivationRange range = ByMethod(histogram, options);
  return options.symmetric ? SymmetricRange(range) : range;
}

ActivationRange SymmetricRange(const ActivationRange& range) {
  const double reach =
      std::max(std::abs(static_cast<double>(range.low)), std::abs(static_cast<double>(range.high)));
  return {static_cast<float>(-reach * 128 / 127), static_cast<float>(reach)};
}

}  // namespace fl::nn
