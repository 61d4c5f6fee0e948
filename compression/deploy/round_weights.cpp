#include "fl/compression/deploy/round_weights.h"

#include <algorithm>

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

Result<std::vector<nn::WeightSpec>> SpecsOf(const nn::Graph& graph, const WeightPlan& plan) {
  std::vector<nn::WeightSpec> specs(graph.nodes.size());
  std::size_t found = 0;
  for (const std::size_t i : WeightNodes(graph)) {
    specs[i] = plan.Of(graph.nodes[i].name);
    found += plan.by_node.count(graph.nodes[i].name);
  }
  if (found == plan.by_node.size()) return specs;
  for (const auto& [name, spec] : plan.by_node) {
    const auto node = std::ranges::find(graph.nodes, name, &nn::Node::name);
    if (node != graph.nodes.end() && nn::HasWeight(*node)) continue;
    return Error{ErrorCode::kNotFound, "weights: no node with a weight is named " + name};
  }
  return specs;
}

Result<RoundedWeights> RoundWeights(const nn::Graph& graph, std::span<const float> parameters,
                                    const WeightPlan& plan) {
  if (parameters.size() != graph.parameters.total()) {
    return Error{ErrorCode::kInvalidArgument,
                 "weights: expected the graph's " + std::to_string(graph.parameters.total()) +
                     " parameters, found " + std::to_string(parameters.size())};
  }
  FL_TRY(const std::vector<nn::WeightSpec> specs, SpecsOf(graph, plan));
  RoundedWeights rounded{{}, {parameters.begin(), parameters.end()}};
  for (const std::size_t i : WeightNodes(graph)) {
    const nn::Node& node = graph.nodes[i];
    const nn::WeightMatrix weight = nn::WeightOf(graph, node, parameters);
    auto grid = nn::FitWeightGrid(weight, specs[i], nn::ClipOf(specs[i]));
    if (!grid) return grid.error().At("node " + node.name);
    nn::RoundToGrid(
        *grid, weight.values,
        std::span(rounded.parameters)
            .subspan(graph.parameters.offset(node.parameters[0]), weight.values.size()));
    rounded.grids.emplace(node.name, *std::move(grid));
  }
  return rounded;
}

}  // namespace fl::deploy
