#include "fl/compression/deploy/search/choice.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <tuple>
#include <vector>

#include "fl/common/base/check.h"

namespace fl::deploy {
namespace {

// The higher the better.
double WorthOf(const Objectives& result, const Objectives& corner, const ChoiceRule& rule) {
  switch (rule.prefer) {
    case Preference::kBalance:
      return DominatedVolume(std::span(&result, 1), corner);
    case Preference::kBytes:
      return -static_cast<double>(result.bytes);
    case Preference::kLatency:
      return -result.microseconds;
    case Preference::kAccuracy:
      return result.accuracy;
    case Preference::kDominance:
      FL_CHECK(rule.drawn != nullptr, "there is something to dominate");
      return rule.drawn->ExpectedShare(result, rule.spread);
  }
  return 0;
}

std::string Microseconds(const char* format, double found, double bound) {
  std::array<char, 120> text{};
  std::snprintf(text.data(), text.size(), format, found, bound);
  return text.data();
}

}  // namespace

Objectives CornerOf(const SearchBudget& budget, const Objectives& teacher) {
  Objectives corner = teacher;
  corner.accuracy -= budget.drop_points_max / 100;
  if (budget.bytes_max > 0) corner.bytes = std::min(corner.bytes, budget.bytes_max);
  if (budget.latency_us_max > 0)
    corner.microseconds = std::min(corner.microseconds, budget.latency_us_max);
  return corner;
}

std::string WhyNot(const Trial& trial, const ChoiceRule& rule) {
  const SearchBudget& budget = rule.budget;
  std::string why = WhyOutside(trial.result, budget);
  if (why.empty()) why = WhyRefused(trial.measured, {budget.drop_points_max, budget.bytes_max});
  const bool timed = rule.measured_here && budget.latency_us_max > 0 && trial.latency;
  if (why.empty() && timed && trial.latency->min_us > budget.latency_us_max) {
    why = Microseconds("%.1f us when measured, at most %.1f are allowed", trial.latency->min_us,
                       budget.latency_us_max);
  }
  return why;
}

std::optional<std::size_t> ChooseTrial(std::span<const Trial> trials, const Objectives& teacher,
                                       const ChoiceRule& rule) {
  const Objectives corner = CornerOf(rule.budget, teacher);
  const auto key = [&](std::size_t i) {
    const Objectives& result = trials[i].result;
    return std::tuple(-WorthOf(result, corner, rule), result.bytes, result.microseconds);
  };
  std::optional<std::size_t> chosen;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    if (!trials[i].finalist || !trials[i].within) continue;
    if (!chosen || key(i) < key(*chosen)) chosen = i;
  }
  return chosen;
}

std::string NameNearest(std::span<const Trial> trials, const ChoiceRule& rule) {
  constexpr std::size_t kNamed = 3;
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    if (trials[i].finalist) order.push_back(i);
  }
  std::ranges::stable_sort(order, std::greater<>{},
                           [&](std::size_t i) { return trials[i].result.accuracy; });
  std::string text;
  for (std::size_t i = 0; i < std::min(kNamed, order.size()); ++i) {
    const Trial& trial = trials[order[i]];
    text += (i == 0 ? " " : "; ") + trial.name + " (" + std::to_string(trial.result.bytes) +
            Microseconds(" bytes, %.1f us), ", trial.result.microseconds, 0) + WhyNot(trial, rule);
  }
  return text;
}

}  // namespace fl::deploy
