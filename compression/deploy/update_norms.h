#pragma once

#include <span>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"
#include "fl/compression/deploy/importance.h"

namespace fl::deploy {

// Measures the means and variances of batch norms anew, as training does (40 minibatches of 32
// samples, each moving them a tenth of the way): after channels went they are no longer those of
// what the norms read, and without this most of the accuracy is gone until a training makes it up.
// Does nothing without samples or batch norms. kShapeMismatch for samples that are not the graph's,
// kNotFinite. Same inputs, same bits.
Result<> UpdateNorms(const nn::Graph& graph, const ImportanceInputs& inputs,
                     std::span<float> parameters);

}  // namespace fl::deploy
