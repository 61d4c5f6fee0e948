#include "fl/compression/deploy/choose_within.h"

#include <algorithm>
#include <numeric>

namespace fl::deploy {
namespace {

// Loss saved for each unit of cost between two choices.
double Gain(const LayerChoice& from, const LayerChoice& to) {
  return (from.loss - to.loss) / (to.cost - from.cost);
}

// Indices of the choices on the lower convex hull, by rising cost; the first is the cheapest.
std::vector<std::size_t> HullOf(const std::vector<LayerChoice>& choices) {
  std::vector<std::size_t> order(choices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&choices](std::size_t a, std::size_t b) {
    if (choices[a].cost != choices[b].cost) return choices[a].cost < choices[b].cost;
    return choices[a].loss < choices[b].loss;
  });
  std::vector<std::size_t> hull;
  for (const std::size_t at : order) {
    if (!hull.empty() && choices[at].loss >= choices[hull.back()].loss) continue;
    while (hull.size() >= 2 && Gain(choices[hull[hull.size() - 2]], choices[hull.back()]) <
                                   Gain(choices[hull.back()], choices[at])) {
      hull.pop_back();
    }
    hull.push_back(at);
  }
  return hull;
}

// Where a layer stands on its hull.
struct Climb {
  std::vector<std::size_t> hull;
  std::size_t at = 0;
};

}  // namespace

std::optional<std::vector<std::size_t>> ChooseWithin(
    std::span<const std::vector<LayerChoice>> layers, double budget) {
  std::vector<Climb> climbs;
  double cost = 0;
  for (const auto& choices : layers) {
    climbs.push_back({HullOf(choices)});
    cost += choices[climbs.back().hull.front()].cost;
  }
  if (!(cost <= budget)) return std::nullopt;
  while (true) {
    std::size_t best = layers.size();
    double best_gain = 0;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const Climb& climb = climbs[i];
      if (climb.at + 1 == climb.hull.size()) continue;
      const LayerChoice& from = layers[i][climb.hull[climb.at]];
      const LayerChoice& to = layers[i][climb.hull[climb.at + 1]];
      if (cost + to.cost - from.cost > budget || Gain(from, to) <= best_gain) continue;
      best = i;
      best_gain = Gain(from, to);
    }
    if (best == layers.size()) break;
    Climb& climb = climbs[best];
    cost -= layers[best][climb.hull[climb.at]].cost;
    ++climb.at;
    cost += layers[best][climb.hull[climb.at]].cost;
  }
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::size_t before = climbs[i].hull[climbs[i].at];
    std::size_t best = before;
    for (std::size_t k = 0; k < layers[i].size(); ++k) {
      const LayerChoice& choice = layers[i][k];
      const bool fits = cost - layers[i][before].cost + choice.cost <= budget;
      if (fits && choice.loss < layers[i][best].loss) best = k;
    }
    cost += layers[i][best].cost - layers[i][before].cost;
    chosen.push_back(best);
  }
  return chosen;
}

}  // namespace fl::deploy
