#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace fl::deploy {

// One way to treat a layer: what it costs and what it loses, both >= 0.
struct LayerChoice {
  double cost = 0;
  double loss = 0;
};

// One choice for each layer, by index, such that the costs together stay within the budget and the
// losses together are small: all begin with their cheapest choice, then the step along the lower
// convex hull of (cost, loss) that saves most loss for its cost is taken, over all layers, as long
// as one fits (Everett 1963: the optimum for the budget that it uses up); then single choices that
// still fit and lose less. Ties go to the earlier layer. Each layer has at least one choice. None
// when even the cheapest choices exceed the budget. Thread safety: pure function.
std::optional<std::vector<std::size_t>> ChooseWithin(
    std::span<const std::vector<LayerChoice>> layers, double budget);

}  // namespace fl::deploy
