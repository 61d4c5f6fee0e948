#pragma once

#include <cstdint>
#include <vector>

#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

// Samples one after the other, as the engine takes them.
struct SampleBlock {
  std::vector<float> values;  // count x features.
  std::vector<std::int32_t> labels;
  std::size_t count = 0;
};

// At most `most` calibration samples, filled up with training samples: what looks at activations
// needs typical inputs, not unseen ones. May hold none.
SampleBlock CalibrationSamples(const PassInputs& inputs, std::size_t most);
SampleBlock CalibrationSamples(const data::Subset& calibration, const data::Subset& training,
                               std::size_t most);

}  // namespace fl::deploy
