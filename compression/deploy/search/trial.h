#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/compression/deploy/gate.h"
#include "fl/compression/deploy/measure_model.h"
#include "fl/compression/deploy/search/pareto.h"
#include "fl/compression/deploy/search/trainee.h"

namespace fl::deploy {

// A list that was tried.
struct Trial {
  std::string name = {};  // NameOf the proposal, and the bits of weights where they are fewer.
  std::string kind = {};  // KindOf the proposal, or "random".
  std::uint8_t bits = kBitsMost;  // Of weights.
  DeploymentConfig list = {};
  std::vector<std::uint32_t> steps = {};  // Of each training.
  std::vector<double> course = {};        // Accuracy behind each on the samples to choose by.
  Objectives result = {};                 // On the verification samples; time by the profile.
  std::optional<Latency> latency = {};    // Measured here; of finalists, with a clock.
  bool finalist = false;                  // Took part in all rungs (or needs none).
  bool within = false;                    // Keeps every bound of the budget.
  bool on_front = false;                  // No other trial but the random ones dominates it.
  Measured measured = {};
};

// The trainee's model, its weights in so many bits, measured on the verification samples. `timed`:
// on this machine, too, where there is a clock. `teacher`: what is known of the model as it came
// and of the samples, for Trial::measured. The errors of the passes and of MeasureLatency.
Result<Trial> MeasureTrial(const Trainee& trainee, std::uint8_t bits, const Measured& teacher,
                           bool timed);

}  // namespace fl::deploy
