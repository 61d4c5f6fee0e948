#include "fl/common/nn/initialize.h"

#include <cmath>

namespace fl::nn {

NamedTensors InitializeParameters(const Graph& graph, const RngStream& rng) {
  NamedTensors parameters(graph.parameters);
  for (const Node& node : graph.nodes) {
    if (node.parameters.empty()) continue;
    const Shape& weight = graph.parameters[node.parameters[0]].shape;
    // All extents but the last, which is the outputs.
    const std::size_t fan_in = weight.count() / weight[weight.rank() - 1];
    const float bound = 1.0F / std::sqrt(static_cast<float>(fan_in));
    for (const std::size_t index : node.parameters) {
      RngStream stream = rng.Child("tensor", index);
      for (float& value : parameters.tensor(index))
        value = (2.0F * stream.Uniform() - 1.0F) * bound;
    }
  }
  return parameters;
}

}  // namespace fl::nn
