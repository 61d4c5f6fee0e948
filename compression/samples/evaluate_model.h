#pragma once

#include <span>

#include "fl/common/base/result.h"
#include "fl/common/base/thread_pool.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/graph.h"

namespace fl {

// Loss and accuracy of the model (graph.parameters.total() values) on the samples, in their order,
// which fit the graph. Of no samples: NaN. The same bits with a pool, of any number of threads, and
// without; it outlives the call.
Result<nn::Evaluation> EvaluateModel(const nn::Graph& graph, std::span<const float> parameters,
                                     const data::Subset& samples, ThreadPool* pool = nullptr);

}  // namespace fl
