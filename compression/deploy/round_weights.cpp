#include "fl/compression/deploy/round_weights.h"

#include <algorithm>
#include <cmath>

#include "fl/common/tensor/half.h"

namespace fl::deploy {

const nn::WeightSpec& WeightPlan::Of(const std::string& node) const {
  const auto found = by_node.find(node);
  return found == by_node.end() ? spec : found->second;
}

std::vector<std::size_t> WeightNodes(const nn::Graph& graph) {
  std::vector<std::size_t> nodes;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    if (nn::HasWeight(graph.nodes[i])) nodes.push_back(i);
  }
  return nodes;
}

Result<RoundedWeights> RoundWeights(const nn::Graph& graph, std::span<const float> parameters,
                                    const WeightPlan& plan) {
  if (parameters.size() != graph.parameters.total()) {
    return Error{ErrorCode::kInvalidArgument,
                 "weights: expected the graph's " + std::to_string(graph.parameters.total()) +
                     " parameters, found " + std::to_string(parameters.size())};
  }
  RoundedWeights rounded{{}, {parameters.begin(), parameters.end()}};
  for (const std::size_t i : WeightNodes(graph)) {
    const nn::Node& node = graph.nodes[i];
    const nn::WeightMatrix weight = nn::WeightOf(graph, node, parameters);
    auto grid = nn::FitWeightGrid(weight, plan.Of(node.name), plan.clip);
    if (!grid) return grid.error().At("node " + node.name);
    nn::RoundToGrid(
        *grid, weight.values,
        std::span(rounded.parameters)
            .subspan(graph.parameters.offset(node.parameters[0]), weight.values.size()));
    rounded.grids.emplace(node.name, *std::move(grid));
  }
  for (const auto& [name, spec_of_node] : plan.by_node) {
    if (rounded.grids.contains(name)) continue;
    return Error{ErrorCode::kNotFound, "weights: no node with a weight is named " + name};
  }
  return rounded;
}

void RoundToHalf(HalfFormat format, std::span<float> parameters) {
  constexpr float kHalfMax = 65504.0F;
  for (float& value : parameters) {
    value = format == HalfFormat::kFp16
                ? HalfToFloat(FloatToHalf(std::clamp(value, -kHalfMax, kHalfMax)))
                : Bfloat16ToFloat(FloatToBfloat16(value));
  }
}

}  // namespace fl::deploy
