#include "fl/compression/deploy/search_bits.h"

#include <algorithm>
#include <map>

namespace fl::deploy {
namespace {

constexpr std::size_t kPopulation = 8;
// Of a child that was measured before or cannot be brought under the budget: try the next.
constexpr std::uint32_t kTriesPerEvaluation = 20;

using Choice = std::vector<std::size_t>;

class Search {
 public:
  Search(std::span<const std::vector<LayerOption>> layers, double budget,
         const MeasureLoss& measure, RngStream rng)
      : layers_(layers), budget_(budget), measure_(measure), rng_(rng) {}

  Result<> Run(const Choice& start, std::uint32_t evaluations) {
    FL_TRY_OK(Add(start));
    for (std::uint32_t tries = 0;
         seen_.size() < evaluations && tries < evaluations * kTriesPerEvaluation; ++tries) {
      Choice child = population_[rng_.UniformInteger(population_.size())].choice;
      const std::uint64_t changes = 1 + rng_.UniformInteger(2);
      for (std::uint64_t i = 0; i < changes; ++i) Mutate(child);
      if (!BringUnderBudget(child) || seen_.contains(child)) continue;
      FL_TRY_OK(Add(child));
    }
    return {};
  }

  Allocation Best() const {
    Allocation best;
    best.chosen = population_.front().choice;
    best.loss = population_.front().loss;
    best.cost = CostOf(best.chosen);
    return best;
  }

 private:
  struct Member {
    double loss;
    Choice choice;
  };

  double CostOf(const Choice& choice) const {
    double cost = 0;
    for (std::size_t i = 0; i < choice.size(); ++i) cost += layers_[i][choice[i]].cost;
    return cost;
  }

  void Mutate(Choice& choice) {
    const std::size_t layer = rng_.UniformInteger(choice.size());
    choice[layer] = rng_.UniformInteger(layers_[layer].size());
  }

  // Makes layers cheaper, drawn at random, until the budget holds.
  bool BringUnderBudget(Choice& choice) {
    for (std::size_t tries = 0; tries < 100 && CostOf(choice) > budget_; ++tries) {
      const std::size_t layer = rng_.UniformInteger(choice.size());
      const std::size_t option = rng_.UniformInteger(layers_[layer].size());
      if (layers_[layer][option].cost < layers_[layer][choice[layer]].cost) choice[layer] = option;
    }
    return CostOf(choice) <= budget_;
  }

  Result<> Add(const Choice& choice) {
    FL_TRY(const double loss, measure_(choice));
    seen_.emplace(choice, loss);
    const auto place = std::ranges::upper_bound(population_, loss, {}, &Member::loss);
    population_.insert(place, {loss, choice});
    if (population_.size() > kPopulation) population_.pop_back();
    return {};
  }

  std::span<const std::vector<LayerOption>> layers_;
  double budget_;
  const MeasureLoss& measure_;
  RngStream rng_;
  std::vector<Member> population_;  // Best first.
  std::map<Choice, double> seen_;
};

}  // namespace

Result<Allocation> SearchAllocation(std::span<const std::vector<LayerOption>> layers, double budget,
                                    const Allocation& start, const MeasureLoss& measure,
                                    std::uint32_t evaluations, RngStream rng) {
  // The same checks, and a start that is known to fit.
  FL_TRY(const Allocation cheapest, Allocate(layers, budget, "cost"));
  Search search(layers, budget, measure, rng);
  const bool fits = start.chosen.size() == layers.size();
  FL_TRY_OK(search.Run(fits ? start.chosen : cheapest.chosen, evaluations));
  return search.Best();
}

}  // namespace fl::deploy
