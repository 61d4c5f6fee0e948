#include "fl/common/nn/initialize.h"

#include <algorithm>
#include <cmath>

namespace fl::nn {

namespace {

// All extents but the last, which is the outputs; the first tensor of a node has these rows.
std::size_t FanIn(const Graph& graph, const Node& node) {
  const Shape& first = graph.parameters[node.parameters[0]].shape;
  return first.count() / first[first.rank() - 1];
}

// The bound of the node's tensor at `position` of its parameters.
float BoundOf(const Node& node, std::size_t position, std::size_t fan_in) {
  const float plain = 1.0F / std::sqrt(static_cast<float>(fan_in));
  if (position + 1 == node.parameters.size()) return plain;
  switch (node.factoring.kind) {
    case FactorKind::kNone:
      return plain;
    case FactorKind::kLora:
      if (position == 0) return plain;
      return position == 1 ? std::sqrt(3.0F / static_cast<float>(fan_in)) : 0.0F;
    case FactorKind::kFedPara: {
      const auto rank = static_cast<float>(node.factoring.rank);
      // Var W = (rank * v^2)^2 with v the variance of each factor.
      const float squared = std::sqrt(2.0F / static_cast<float>(fan_in)) / rank;
      return std::sqrt(3.0F * std::sqrt(squared));
    }
  }
  return plain;
}

}  // namespace

NamedTensors InitializeParameters(const Graph& graph, const RngStream& rng) {
  NamedTensors parameters(graph.parameters);
  for (const Node& node : graph.nodes) {
    if (node.parameters.empty()) continue;
    if (node.kind == OpKind::kBatchNorm || node.kind == OpKind::kLayerNorm) {
      std::ranges::fill(parameters.tensor(node.parameters[0]), 1.0F);  // gamma
      if (node.parameters.size() > 2)
        std::ranges::fill(parameters.tensor(node.parameters[3]), 1.0F);  // variance
      continue;
    }
    const std::size_t fan_in = FanIn(graph, node);
    for (std::size_t i = 0; i < node.parameters.size(); ++i) {
      const float bound = BoundOf(node, i, fan_in);
      if (bound == 0) continue;
      RngStream stream = rng.Child("tensor", node.parameters[i]);
      for (float& value : parameters.tensor(node.parameters[i]))
        value = (2.0F * stream.Uniform() - 1.0F) * bound;
    }
  }
  return parameters;
}

}  // namespace fl::nn
