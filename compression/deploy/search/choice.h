#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "fl/compression/deploy/search/drawn_sizes.h"
#include "fl/compression/deploy/search/propose.h"
#include "fl/compression/deploy/search/trial.h"

namespace fl::deploy {

// What decides between models that keep the budget.
enum class Preference : std::uint8_t {
  // The largest product of what is gained over the bounds: points of accuracy above the least that
  // is allowed, and the logarithms of how much smaller and faster (the bargaining solution of Nash
  // 1950, doi:10.2307/1907266). It is what a single model dominates of all that the bounds allow
  // (DominatedVolume). Where there is no bound, the model as it came is one.
  kBalance,
  kBytes,     // The fewest.
  kLatency,   // The least time.
  kAccuracy,  // The most accurate.
  // The one that is expected to dominate most of what would be drawn at random (DrawnSizes).
  kDominance,
};

struct ChoiceRule {
  SearchBudget budget;
  Preference prefer = Preference::kBalance;
  // Whether the device is this machine: the latency must then be kept when measured, too.
  bool measured_here = false;
  const DrawnSizes* drawn = nullptr;  // Of kDominance, which it outlives,
  AccuracySpread spread = {};         // with that of the trials.
};

// The worst that the budget allows: gains count from there.
Objectives CornerOf(const SearchBudget& budget, const Objectives& teacher);

// Why a trial does not keep the budget; empty where it does.
std::string WhyNot(const Trial& trial, const ChoiceRule& rule);

// The position of the best finalist that keeps the budget (Trial::within); none where none does.
// Of equals the one with fewer bytes, then less time, then the first.
std::optional<std::size_t> ChooseTrial(std::span<const Trial> trials, const Objectives& teacher,
                                       const ChoiceRule& rule);

// What came nearest where nothing keeps the budget: the three most accurate finalists, and why not.
std::string NameNearest(std::span<const Trial> trials, const ChoiceRule& rule);

}  // namespace fl::deploy
