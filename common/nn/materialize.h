#pragma once

#include <span>

#include "fl/common/nn/model_file.h"

namespace fl::nn {

// The plain model of a graph whose weights may be made of factors: the same outputs from ordinary
// layers, nothing frozen, for passes, deployment and export. `parameters`: graph.parameters.total()
// values. The values of a model without factors stay as they are. kLimitExceeded when there is no
// memory for it.
Result<FloatModel> Materialize(const Graph& graph, std::span<const float> parameters);

}  // namespace fl::nn
