#include "fl/compression/deploy/search/pareto.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

namespace fl::deploy {
namespace {

// What a point gains over the corner.
struct Gain {
  double points = 0;
  double bytes = 0;
  double time = 0;
};

double LogBytes(const Objectives& of) {
  return std::log(static_cast<double>(std::max<std::uint64_t>(1, of.bytes)));
}

double LogTime(const Objectives& of) {
  constexpr double kLeast = 1e-3;  // Microseconds; no table tells less.
  return std::log(std::max(kLeast, of.microseconds));
}

Gain GainOver(const Objectives& point, const Objectives& corner) {
  return {.points = 100 * (point.accuracy - corner.accuracy),
          .bytes = LogBytes(corner) - LogBytes(point),
          .time = LogTime(corner) - LogTime(point)};
}

// The area that rectangles with a corner at 0 cover together.
double CoveredArea(std::vector<std::pair<double, double>> rectangles) {
  std::ranges::sort(rectangles, std::greater<>{});
  double area = 0;
  double height = 0;
  for (const auto& [width, top] : rectangles) {
    area += width * std::max(0.0, top - height);
    height = std::max(height, top);
  }
  return area;
}

}  // namespace

bool Dominates(const Objectives& a, const Objectives& b) {
  return a.accuracy >= b.accuracy && a.bytes <= b.bytes && a.microseconds <= b.microseconds &&
         a != b;
}

std::vector<std::size_t> FrontNumbers(std::span<const Objectives> points) {
  constexpr std::size_t kNone = SIZE_MAX;
  std::vector<std::size_t> fronts(points.size(), kNone);
  for (std::size_t front = 0; std::ranges::find(fronts, kNone) != fronts.end(); ++front) {
    std::vector<std::size_t> members;
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (fronts[i] != kNone) continue;
      bool dominated = false;
      for (std::size_t k = 0; k < points.size() && !dominated; ++k)
        dominated = fronts[k] == kNone && Dominates(points[k], points[i]);
      if (!dominated) members.push_back(i);
    }
    for (const std::size_t i : members) fronts[i] = front;
  }
  return fronts;
}

double DominatedVolume(std::span<const Objectives> points, const Objectives& corner) {
  std::vector<Gain> gains;
  for (const Objectives& point : points) {
    const Gain gain = GainOver(point, corner);
    if (gain.points > 0 && gain.bytes > 0 && gain.time > 0) gains.push_back(gain);
  }
  std::ranges::stable_sort(gains, std::greater<>{}, &Gain::points);
  // Slices from the most accurate down: in each lie all that are at least as accurate.
  double volume = 0;
  std::vector<std::pair<double, double>> slice;
  for (std::size_t i = 0; i < gains.size(); ++i) {
    slice.emplace_back(gains[i].bytes, gains[i].time);
    const double below = i + 1 < gains.size() ? gains[i + 1].points : 0;
    volume += (gains[i].points - below) * CoveredArea(slice);
  }
  return volume;
}

}  // namespace fl::deploy
