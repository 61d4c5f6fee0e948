#pragma once

#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/config/hardware_profile.h"
#include "fl/common/nn/graph.h"

namespace fl::deploy {

// Microseconds of one sample on the device of the profile, from its latency table: a node takes
// the time of the row of its operator with the nearest number of multiply-accumulates, scaled by
// their ratio; a node without such a row takes its operations at the profile's rate, or its weights
// at the memory's, whichever is longer. ReLUs run with the product before them, flatten and reshape
// move nothing: they take no time. The way into the engine takes half of what the row "relu" says
// for as many values. kUnsupported when the profile lacks the type. Thread safety: pure function.
// One time for each node.
Result<std::vector<double>> EstimateNodeLatency(const HardwareProfile& profile,
                                                const nn::Graph& graph, bool integers);
// Their sum.
Result<double> EstimateLatency(const HardwareProfile& profile, const nn::Graph& graph,
                               bool integers);

}  // namespace fl::deploy
