#pragma once

#include <functional>
#include <map>
#include <string>

#include "fl/benchmarks/report.h"
#include "fl/common/base/result.h"

// The group `training`: how long a step of training takes on one thread.
namespace fl::bench {

struct TrainingConfig {
  RunConditions conditions;
  // Of the networks those whose name holds this; empty: all.
  std::string only;
  // Milliseconds that PyTorch takes for the same step on one thread, by the network's name; a
  // network that is not here has no ratio.
  std::map<std::string, double, std::less<>> torch;
};

// Rows "training/NETWORK/step": milliseconds of the processor for forward pass, backward pass and
// SGD over 32 samples, the median of many steps; "training/NETWORK/torch": as a share of PyTorch's.
Result<> RunTraining(const TrainingConfig& config, Report& report);

}  // namespace fl::bench
