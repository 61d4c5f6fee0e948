#pragma once

#include "fl/common/nn/graph.h"
#include "fl/common/random/rng_stream.h"

namespace fl::nn {

// A model's first parameters: each tensor uniform in +-bound, drawn from the child stream
// ("tensor", index in the layout). The bound of a weight and a bias is 1 / sqrt(fan_in). With
// factors: lora_a sqrt(3 / fan_in), whose columns have length 1 about, and lora_b 0, so that the
// layer begins as W0; the four of FedPara sqrt(3) * (2 / (fan_in * rank^2))^(1/8), whose product
// has He's variance 2 / fan_in. Only uniform draws and correctly rounded operations, so the bits
// are the same on every machine.
NamedTensors InitializeParameters(const Graph& graph, const RngStream& rng);

}  // namespace fl::nn
