#include "fl/compression/deploy/search/pareto.h"

#include <algorithm>

namespace fl::deploy {

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

}  // namespace fl::deploy
