#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"
#include "fl/common/nn/weight_grid.h"

namespace fl::deploy {

// Grids by node, and all parameters: the weights of these nodes lie on their grids, the rest is
// fp32.
struct RoundedWeights {
  nn::WeightGrids grids;
  std::vector<float> parameters;
};

// How each node's weight is coded.
struct WeightPlan {
  nn::WeightSpec spec;                            // Where `by_node` says nothing.
  std::map<std::string, nn::WeightSpec> by_node;  // By the node's name.

  const nn::WeightSpec& Of(const std::string& node) const;
};

// The nodes with a weight that can be coded (dense, conv, depthwise), in the graph's order.
std::vector<std::size_t> WeightNodes(const nn::Graph& graph);

// How each node is coded; nodes without a weight have a default spec. kNotFound names a node of
// `by_node` that has no weight.
Result<std::vector<nn::WeightSpec>> SpecsOf(const nn::Graph& graph, const WeightPlan& plan);

// Rounds every weight to the nearest point of a grid fitted to it. kInvalidArgument when the
// parameters are not the graph's or a coding cannot be meant; kNotFound names a node of `by_node`
// that has no weight; kNotFinite.
Result<RoundedWeights> RoundWeights(const nn::Graph& graph, std::span<const float> parameters,
                                    const WeightPlan& plan);

}  // namespace fl::deploy
