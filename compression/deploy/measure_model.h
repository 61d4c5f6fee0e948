#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/data/subset.h"
#include "fl/compression/deploy/working_model.h"

namespace fl::deploy {

// What the caller measures with, since nothing below a program asks the machine.
struct Instruments {
  // Nanoseconds of a steady clock; null: no latency.
  std::int64_t (*nanoseconds)() = nullptr;
  // Microjoules that the processor has used so far, where it tells (RAPL); negative or null: no
  // energy.
  double (*microjoules)() = nullptr;
  // Hears what begins; null: nobody.
  void (*progress)(std::string_view line) = nullptr;
  std::size_t runs = 300;  // Runs timed, >= 1.
  std::size_t batch = 1;   // Samples of one run, >= 1.
};

// One run on one thread. Runs shorter than 20 us are timed in groups, of which
// each counts as its mean.
struct Latency {
  double min_us = 0;
  double median_us = 0;
  double p99_us = 0;
  std::optional<double> microjoules;  // Of the whole processor for one run, mean.
};

// What a model costs, counted from its graph and numbers.
struct ModelCost {
  std::size_t parameters = 0;
  std::size_t nonzero = 0;
  double multiply_accumulates = 0;    // Of one inference: half of CostOf's operations.
  double bytes_moved = 0;             // Weights read, activations read and written; of one
                                      // inference, in the width that the engine uses (4, or 1).
  std::uint64_t activation_peak = 0;  // Bytes of the activations that live at once, at most.
};

// Costs of what is deployed: the integer model where there is one.
ModelCost CostOfModel(const WorkingModel& model);

// Runs what is deployed on samples of `inputs`, batch by batch: a tenth of the runs to warm up,
// then instruments.runs. Nothing without a clock or samples. Session's errors.
Result<std::optional<Latency>> MeasureLatency(const WorkingModel& model, const data::Subset& inputs,
                                              const Instruments& instruments);

}  // namespace fl::deploy
