#pragma once

#include <string>
#include <string_view>

#include "fl/compression/deploy/channel_groups.h"

namespace fl::deploy {

// What a model may cost; 0: no bound. Shares are of what the model has when the pass begins, in
// (0, 1].
struct SizeBudget {
  double macs_share = 0;
  double parameters_share = 0;
  double macs_max = 0;        // >= 1.
  double parameters_max = 0;  // >= 1.

  bool any() const {
    return macs_share > 0 || parameters_share > 0 || macs_max > 0 || parameters_max > 0;
  }
  // The bounds for a model of this size; infinite where there is none.
  ModelSize AtMost(const ModelSize& whole) const;
};

bool Fits(const ModelSize& size, const ModelSize& at_most);

// "expected at most 100 parameters, reached 1234, REASON"; empty where the size fits.
std::string WhyUnreached(const ModelSize& size, const ModelSize& at_most, std::string_view reason);

}  // namespace fl::deploy
