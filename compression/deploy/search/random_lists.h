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
  ListSettings settings;                 // As all lists end, but for the bits of weights:
  std::span<const std::uint8_t> bits;    // one of these, not empty.
  Measured teacher;                      // As of MeasureTrial.
};

// Trains lists whose every choice is drawn, each value alike, from what the search chooses among:
// DrawProposal's structure, no two of them alike, and the number of bits. Each is within the bytes
// and the latency of the budget. Fewer than `count` where the space has no more or inputs.stop was
// set; says each to inputs.instruments. The passes' errors.
Result<std::vector<Trial>> TrainRandomLists(const SearchSpace& space, const RandomRule& rule,
                                            const PassInputs& inputs);

}  // namespace fl::deploy
