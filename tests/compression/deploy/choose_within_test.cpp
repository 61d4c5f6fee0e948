#include "fl/compression/deploy/choose_within.h"

#include <cmath>

#include <doctest/doctest.h>

#include "fl/tests/support/property.h"

namespace fl::deploy {
namespace {

using Layers = std::vector<std::vector<LayerChoice>>;

TEST_CASE("ChooseWithin: spends where it saves most") {
  const Layers layers = {{{1, 9}, {2, 8}, {3, 7}}, {{1, 9}, {2, 2}, {3, 1.5}}};
  CHECK(*ChooseWithin(layers, 2) == std::vector<std::size_t>{0, 0});
  CHECK(*ChooseWithin(layers, 3) == std::vector<std::size_t>{0, 1});
  CHECK(*ChooseWithin(layers, 4) == std::vector<std::size_t>{1, 1});
  CHECK(*ChooseWithin(layers, 100) == std::vector<std::size_t>{2, 2});
}

TEST_CASE("ChooseWithin: what is too dear even at its cheapest is refused") {
  const Layers layers = {{{1, 9}, {2, 8}}, {{3, 0}}};
  CHECK_FALSE(ChooseWithin(layers, 3.9));
  CHECK(*ChooseWithin(layers, 4) == std::vector<std::size_t>{0, 0});
}

TEST_CASE("ChooseWithin: a choice inside the hull fills what is left of the budget") {
  const Layers layers = {{{1, 9}, {2, 8.5}, {10, 0}}};
  CHECK(*ChooseWithin(layers, 5) == std::vector<std::size_t>{1});
}

// The greedy way is at most one step of one layer worse than the optimum; all optima are tried.
TEST_CASE("ChooseWithin: stays within the budget and near the best of all combinations") {
  fl::testing::ForAll(50, [](RngStream& rng) {
    Layers layers(3);
    double dearest_step = 0;
    for (auto& choices : layers) {
      double loss = 0;
      for (int k = 0; k < 6; ++k) {
        loss = 8.0 * std::pow(0.6, k) * (0.9 + 0.2 * rng.UniformDouble());
        choices.push_back({1.0 + k, loss});
      }
      dearest_step = std::max(dearest_step, choices[0].loss - choices[1].loss);
    }
    const double budget = 3 + 15 * rng.UniformDouble();
    const auto chosen = ChooseWithin(layers, budget);
    REQUIRE(chosen);
    double cost = 0;
    double loss = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      cost += layers[i][(*chosen)[i]].cost;
      loss += layers[i][(*chosen)[i]].loss;
    }
    double best = INFINITY;
    for (const auto& a : layers[0]) {
      for (const auto& b : layers[1]) {
        for (const auto& c : layers[2]) {
          if (a.cost + b.cost + c.cost <= budget) best = std::min(best, a.loss + b.loss + c.loss);
        }
      }
    }
    CHECK(cost <= budget);
    CHECK(loss <= best + dearest_step);
  });
}

}  // namespace
}  // namespace fl::deploy
