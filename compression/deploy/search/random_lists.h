#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/compression/deploy/search/propose.h"
#include "fl/compression/deploy/search/search_space.h"
#include "fl/compression/deploy/search/trial.h"

namespace fl::deploy {

// What a search's result is compared with.
struct RandomRule {
  std::uint32_t count = 20;
  SearchBudget budget;                   // Bytes and latency are kept; accuracy is what comes out.
  std::span<const std::uint32_t> steps;  // The trainings that each gets.
  ListSettings settings;                 // As the chosen list ends, bits included.
  Measured teacher;                      // As of MeasureTrial.
};

// Trains lists that are drawn from the space of the search's own proposals (DrawProposal), no two
// of them alike, each within the bytes and the latency of the budget. Fewer than `count` where the
// space has no more or inputs.stop was set; says each to inputs.instruments. The passes' errors.
Result<std::vector<Trial>> TrainRandomLists(const SearchSpace& space, const RandomRule& rule,
                                            const PassInputs& inputs);

}  // namespace fl::deploy
