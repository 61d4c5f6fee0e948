#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"

namespace fl::deploy {

// What a dense layer or a convolution multiplies with its weight, as seen on samples: rows of
// height x width x channels values, in the order of the weight's rows (a dense layer: its input).
struct LayerInputs {
  std::size_t rows = 0;  // 0: nothing was seen.
  std::vector<float> values;
};

// Runs the graph up to the node on `count` samples and takes the places of its window that its
// output has, padding being zero; where these are more than rows_max, so many of them at equal
// distances. kInvalidArgument when there are no samples or their length does not fit, or when the
// node is no dense layer and no convolution of one group; kNotFinite when a value is NaN or
// infinite. Thread safety: pure function.
Result<LayerInputs> ObserveLayerInputs(const nn::Graph& graph, std::span<const float> parameters,
                                       std::size_t node, std::span<const float> samples,
                                       std::size_t count, std::size_t rows_max = 4096);

}  // namespace fl::deploy
