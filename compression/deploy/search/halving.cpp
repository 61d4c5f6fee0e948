#include "fl/compression/deploy/search/halving.h"

#include <algorithm>
#include <tuple>

namespace fl::deploy {
namespace {

// Takes the smallest of at least `accuracy` out of the pool; pool.size() when there is none.
std::size_t SmallestOf(std::span<const Objectives> points, const std::vector<std::size_t>& pool,
                       double accuracy) {
  std::size_t best = pool.size();
  const auto key = [&](std::size_t i) {
    const Objectives& point = points[pool[i]];
    return std::tuple(point.bytes, point.microseconds, pool[i]);
  };
  for (std::size_t i = 0; i < pool.size(); ++i) {
    if (points[pool[i]].accuracy < accuracy) continue;
    if (best == pool.size() || key(i) < key(best)) best = i;
  }
  return best;
}

std::size_t MostAccurateOf(std::span<const Objectives> points,
                           const std::vector<std::size_t>& pool) {
  const auto best =
      std::ranges::max_element(pool, {}, [&](std::size_t i) { return points[i].accuracy; });
  return static_cast<std::size_t>(best - pool.begin());
}

}  // namespace

std::vector<std::size_t> Survivors(std::span<const Objectives> points, const HalvingRule& rule) {
  const std::vector<std::size_t> fronts = FrontNumbers(points);
  std::vector<std::size_t> chosen;
  std::vector<std::size_t> rest;
  const auto take = [&](std::vector<std::size_t>& pool, std::size_t at) {
    chosen.push_back(pool[at]);
    pool.erase(pool.begin() + static_cast<std::ptrdiff_t>(at));
  };
  for (std::size_t front = 0; front < points.size(); ++front) {
    std::vector<std::size_t> pool;
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (fronts[i] != front) continue;
      const bool hopeful = points[i].accuracy >= rule.wanted - rule.allowance;
      (hopeful ? pool : rest).push_back(i);
    }
    for (bool safe = false; !pool.empty() && chosen.size() < rule.places; safe = !safe) {
      std::size_t at = SmallestOf(points, pool, safe ? rule.wanted + rule.doubt : 0);
      if (at == pool.size()) at = MostAccurateOf(points, pool);
      take(pool, at);
    }
  }
  while (!rest.empty() && chosen.size() < rule.places) take(rest, MostAccurateOf(points, rest));
  std::ranges::sort(chosen);
  return chosen;
}

}  // namespace fl::deploy
