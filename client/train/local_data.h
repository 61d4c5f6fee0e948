#pragma once

#include <string_view>

#include "fl/common/config/plan.h"
#include "fl/common/data/dataset.h"

namespace fl::client {

// A device's samples, cut by the plan's seed and the device's name into disjoint parts. `holdout`
// is never trained on; it is calibration followed by verification.
struct LocalData {
  data::Dataset training;
  data::Dataset holdout;
  data::Dataset calibration;   // For quantization: the holdout's first quarter.
  data::Dataset verification;  // Judges a local model: seen by neither training, calibration nor
                               // distillation.
};

// The same samples, plan and name give the same parts. holdout has floor(samples *
// plan.data.holdout) samples, at least one where the share is not 0 and there are two samples or
// more.
LocalData SplitLocalData(const data::Dataset& samples, const Plan& plan, std::string_view client);

}  // namespace fl::client
