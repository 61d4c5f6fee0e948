#pragma once

#include "fl/common/config/plan.h"
#include "fl/common/random/rng_stream.h"
#include "fl/common/tensor/tensor.h"

namespace fl::client {

// Step 4's second half, after ErrorFeedback::Compensate, so that what is clipped bounds what is
// sent: scales `update` down to an L2 norm of privacy.clip_norm where it is longer (0: no
// clipping). What the clip takes away is not kept. Noise is not available in this version: a plan
// that asks for it is refused when it is loaded, so `rng` is not drawn from.
void ClipAndNoise(NamedTensors& update, const PrivacyConfig& privacy, const RngStream& rng);

}  // namespace fl::client
