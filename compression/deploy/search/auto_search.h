#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/compression/deploy/pass.h"
#include "fl/compression/deploy/search/choice.h"
#include "fl/compression/deploy/search/pareto.h"
#include "fl/compression/deploy/search/propose.h"
#include "fl/compression/deploy/search/search_space.h"
#include "fl/compression/deploy/search/sensitivity_curves.h"
#include "fl/compression/deploy/search/trial.h"

namespace fl::deploy {

struct SearchConfig {
  SearchBudget budget;
  Preference prefer = Preference::kBalance;
  double seconds = 600;           // For which the training is planned, on a slow core; > 0.
  std::uint32_t candidates = 40;  // Lists of the first rung, >= 4.
  std::uint32_t rungs = 4;        // Each has half as many lists (6 at least) and twice as many
                                  // steps, >= 1.
  std::uint32_t random = 0;       // Lists drawn at random and trained as long, to compare with.
  // Whether the device is this machine: what is chosen must then keep the latency when measured.
  bool measured_here = false;

  Result<> Validate() const;  // kInvalidArgument names the field, the value and the range.
};

struct SearchOutcome {
  Objectives teacher;
  std::vector<SensitivityCurve> curves;
  std::vector<Trial> trials;          // A finalist stands there with each number of bits.
  std::optional<std::size_t> chosen;  // In trials.
  std::string unreached;    // Why none was chosen: what was reached, and the nearest lists.
  bool cut_short = false;   // By `stop` or by the time; what was there until then counts.
  std::uint32_t steps = 0;  // Of training that the chosen one got.
  Bytes model;              // The chosen one's file.
};

// Looks for a small, fast and accurate model within the budget: sensitivity curves, proposals along
// them, students and draws, successive halving with short trainings against the model as it came
// (the same samples in the same order for all; a student's first is twice as long, and students and
// the rest are halved apart), then finalists with weights of 8, 6, 4 and 3 bits. All are measured
// on the verification samples, and of the finalists within the budget `prefer` decides. `choosing`:
// samples that the rungs are decided by; best none that the model, training or verification saw.
// inputs.profile: of the device, needed; times are by its table, so that they are the same for the
// same profile. inputs.gate is not looked at; inputs.stop ends it early, with what it has.
// inputs.instruments may be null; where its clock runs ahead of the plan, trainings get shorter.
//
// Same inputs, same bits on one machine and build, where the time did not cut it short and nothing
// measured here decided. RunPasses with the chosen list and the same inputs makes the same file.
// Errors: kInvalidArgument (no profile, no samples, Validate), kUnavailable (stopped before there
// was anything), the passes' own. A budget that nothing keeps is no error here, but `unreached`.
// Thread safety: pure function.
Result<SearchOutcome> AutoSearch(const SearchConfig& config, const PassInputs& inputs,
                                 const data::Subset& choosing);

}  // namespace fl::deploy
