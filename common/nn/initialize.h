#pragma once

#include "fl/common/nn/graph.h"
#include "fl/common/random/rng_stream.h"

namespace fl::nn {

// A model's first parameters: each tensor uniform in +-1 / sqrt(fan_in), weight and bias alike,
// drawn from the child stream
// ("tensor", index in the layout). Only uniform draws and one correctly rounded division, so the
// bits are the same on every machine.
NamedTensors InitializeParameters(const Graph& graph, const RngStream& rng);

}  // namespace fl::nn
