#pragma once

#include <span>

#include "fl/common/base/result.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/graph.h"

namespace fl {

// Loss and accuracy of the model (graph.parameters.total() values) on the samples, in their order,
// which fit the graph. Of no samples: NaN.
Result<nn::Evaluation> EvaluateModel(const nn::Graph& graph, std::span<const float> parameters,
                                     const data::Subset& samples);

}  // namespace fl
