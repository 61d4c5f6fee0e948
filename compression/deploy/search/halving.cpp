#include "fl/compression/deploy/search/halving.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace fl::deploy {

std::vector<std::size_t> Survivors(std::span<const Objectives> points, const Objectives& corner,
                                   std::size_t places) {
  std::vector<std::size_t> rest(points.size());
  std::iota(rest.begin(), rest.end(), std::size_t{0});
  std::vector<std::size_t> chosen;
  std::vector<Objectives> kept;
  double volume = 0;
  while (!rest.empty() && chosen.size() < places) {
    const auto worth = [&](std::size_t i) {
      constexpr double kNothing = 1e-9;  // A sum in another order.
      kept.push_back(points[i]);
      const double added = DominatedVolume(kept, corner) - volume;
      kept.pop_back();
      return std::pair(added > kNothing ? added : 0, points[i].accuracy);
    };
    const auto best = std::ranges::max_element(rest, {}, worth);
    kept.push_back(points[*best]);
    volume = DominatedVolume(kept, corner);
    chosen.push_back(*best);
    rest.erase(best);
  }
  std::ranges::sort(chosen);
  return chosen;
}

}  // namespace fl::deploy
