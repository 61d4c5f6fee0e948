#pragma once

#include <array>

#include "fl/client/train/local_data.h"
#include "fl/common/random/rng_stream.h"
#include "fl/common/wire/update.h"
#include "fl/compression/check_plan.h"

namespace fl::client {

// The metrics stream: the tensor "metrics" of four values.
wire::UpdateStream EncodeMetrics(const CheckedPlan& checked, const std::array<float, 4>& values);

// The plan's own streams, in its order, each measured on the training samples and encoded by its
// recipe with rng.Child("stream", i).
void AppendPlanStreams(const CheckedPlan& checked, const LocalData& data, const RngStream& rng,
                       wire::Update& update);

}  // namespace fl::client
