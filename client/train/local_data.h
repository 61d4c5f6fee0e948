#pragma once

#include <string_view>

#include "fl/common/config/plan.h"
#include "fl/common/data/subset.h"

namespace fl::client {

// A device's samples, cut by the plan's seed and the device's name into disjoint parts. `holdout`
// is never trained on; it is calibration followed by verification.
struct LocalData {
  data::Subset training;
  data::Subset holdout;
  data::Subset calibration;   // For quantization: the first quarter of the hold-out.
  data::Subset verification;  // Judges a local model: seen by neither training, calibration nor
                              // distillation.
};

// The same samples, plan and name give the same parts; plan.data.holdout is the share held out.
LocalData SplitLocalData(const data::Subset& samples, const Plan& plan, std::string_view client);

}  // namespace fl::client
