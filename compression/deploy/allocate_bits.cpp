#include "fl/compression/deploy/allocate_bits.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>

namespace fl::deploy {
namespace {

// More undominated states than this are thinned out.
constexpr std::size_t kStatesMax = 65536;

// The least loss that can be had for a cost, and how: this layer's option and the state before it.
struct State {
  double cost = 0;
  double loss = 0;
  std::uint32_t before = 0;
  std::uint32_t option = 0;
};

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

Result<> Check(std::span<const std::vector<LayerOption>> layers, double budget,
               std::string_view unit) {
  double least = 0;
  for (const std::vector<LayerOption>& options : layers) {
    double cheapest = std::numeric_limits<double>::infinity();
    for (const LayerOption& option : options) {
      if (!std::isfinite(option.loss) || !std::isfinite(option.cost) || option.cost < 0) {
        return Error{ErrorCode::kInvalidArgument,
                     "precision: expected finite losses and costs of at least 0, found " +
                         Number(option.loss) + " and " + Number(option.cost)};
      }
      cheapest = std::min(cheapest, option.cost);
    }
    if (options.empty())
      return Error{ErrorCode::kInvalidArgument, "precision: a layer has no options"};
    least += cheapest;
  }
  if (std::isfinite(budget) && budget >= least) return {};
  return Error{ErrorCode::kInvalidArgument,
               "precision: a budget of " + Number(budget) + " " + std::string(unit) +
                   " cannot be reached; the least is " + Number(least)};
}

// Of states in order of cost, those that lose less than every cheaper one.
std::vector<State> Undominated(std::vector<State> states) {
  std::ranges::stable_sort(states, [](const State& a, const State& b) {
    return a.cost != b.cost ? a.cost < b.cost : a.loss < b.loss;
  });
  std::vector<State> kept;
  for (const State& state : states) {
    if (kept.empty() || state.loss < kept.back().loss) kept.push_back(state);
  }
  return kept;
}

// The best state of each of kStatesMax equal parts of the budget; the cheapest always stays.
std::vector<State> Thinned(const std::vector<State>& states, double budget) {
  std::vector<State> kept = {states.front()};
  double part = 0;
  for (const State& state : states) {
    const double at = std::floor(state.cost / budget * static_cast<double>(kStatesMax - 1));
    if (at == part && kept.size() > 1) kept.pop_back();
    kept.push_back(state);
    part = at;
  }
  return kept;
}

// What the cheapest options of the layers from each one on cost.
std::vector<double> CheapestFrom(std::span<const std::vector<LayerOption>> layers) {
  std::vector<double> costs(layers.size() + 1, 0.0);
  for (std::size_t i = layers.size(); i > 0; --i) {
    const auto least = std::ranges::min_element(layers[i - 1], {}, &LayerOption::cost);
    costs[i - 1] = costs[i] + least->cost;
  }
  return costs;
}

}  // namespace

Result<Allocation> Allocate(std::span<const std::vector<LayerOption>> layers, double budget,
                            std::string_view unit) {
  FL_TRY_OK(Check(layers, budget, unit));
  const std::vector<double> rest = CheapestFrom(layers);
  // Sums in another order may differ by a rounding error; a budget met exactly counts as met.
  const double most = budget * (1 + 1e-12);
  std::vector<std::vector<State>> table = {{State{}}};
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::vector<State> next;
    for (std::uint32_t before = 0; before < table.back().size(); ++before) {
      const State& state = table.back()[before];
      for (std::uint32_t option = 0; option < layers[i].size(); ++option) {
        const double cost = state.cost + layers[i][option].cost;
        if (cost + rest[i + 1] > most) continue;
        next.push_back({cost, state.loss + layers[i][option].loss, before, option});
      }
    }
    next = Undominated(std::move(next));
    if (next.size() > kStatesMax) next = Thinned(next, budget);
    table.push_back(std::move(next));
  }
  Allocation allocation;
  allocation.chosen.resize(layers.size());
  std::size_t at = table.back().size() - 1;  // The dearest loses least.
  allocation.loss = table.back()[at].loss;
  allocation.cost = table.back()[at].cost;
  for (std::size_t i = layers.size(); i > 0; --i) {
    allocation.chosen[i - 1] = table[i][at].option;
    at = table[i][at].before;
  }
  return allocation;
}

}  // namespace fl::deploy
