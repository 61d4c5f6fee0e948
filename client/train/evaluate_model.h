#pragma once

#include "fl/common/base/result.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/graph.h"
#include "fl/common/tensor/tensor.h"

namespace fl::client {

// Loss and accuracy of the model on the samples, which fit the graph. Of no samples: NaN.
Result<nn::Evaluation> EvaluateModel(const nn::Graph& graph, const NamedTensors& model,
                                     const data::Subset& samples);

}  // namespace fl::client
