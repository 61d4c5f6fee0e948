#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/compression/deploy/search/drawn_sizes.h"
#include "fl/compression/deploy/search/search_space.h"
#include "fl/compression/deploy/search/sensitivity_curves.h"
#include "fl/compression/deploy/search/trainee.h"

namespace fl::deploy {

// What the chosen model may cost; 0: no bound.
struct SearchBudget {
  double drop_points_max = 0.5;  // Below the model as it came, in points of accuracy, >= 0.
  std::uint64_t bytes_max = 0;
  double latency_us_max = 0;
};

// Why a model of this size is outside the budget; empty where it is within. Accuracy is not looked
// at.
std::string WhyOutside(const Objectives& size, const SearchBudget& budget);

// A proposal and what it would cost.
struct SizedProposal {
  Proposal proposal;
  Objectives size;  // Without an accuracy.
  double multiply_accumulates = 0;
  bool drawn = false;  // By DrawProposal alone.
};

// From the whole model down to the smallest, step by step: each takes a level of that layer whose
// loss by the curves is least for what it saves, by `weight` * ln(parameters) + (1 - weight) *
// ln(multiply-accumulates).
std::vector<std::vector<std::size_t>> GreedyPath(const SearchSpace& space, const nn::Graph& model,
                                                 std::span<const SensitivityCurve> curves,
                                                 double weight);

// What is worth a try: points of two greedy paths (where bytes count, and where time counts), the
// same with the largest layer of low rank, global rankings, the students, and 64 draws
// (DrawProposal, by inputs.rng); each with its exact size. Errors: the passes'.
Result<std::vector<SizedProposal>> ProposeLists(const SearchSpace& space,
                                                std::span<const SensitivityCurve> curves,
                                                const ListSettings& settings,
                                                const PassInputs& inputs);

// At most `count` of those within the budget: shares for each kind, evenly over their bytes; with
// `drawn` of that half of each kind that has most of what was drawn behind it. In the order in
// which they came.
std::vector<SizedProposal> PickProposals(std::span<const SizedProposal> proposals,
                                         const SearchBudget& budget, std::size_t count,
                                         const DrawnSizes* drawn = nullptr);

}  // namespace fl::deploy
