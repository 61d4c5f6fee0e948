#include "fl/common/nn/operator.h"

namespace fl::nn {
namespace {

constexpr double kFloatBytes = 4;

double InputCount(const Graph& graph, const Node& node) {
  return static_cast<double>(graph.nodes[node.inputs[0]].shape.count());
}

OperatorCost CostOfValues(const Graph& graph, const Node& node, double flops) {
  const double values = InputCount(graph, node) + static_cast<double>(node.shape.count());
  return {.flops = flops, .activation_bytes = values * kFloatBytes, .parameter_bytes = 0};
}

OperatorCost InputCost(const Graph& /*graph*/, const Node& /*node*/) {
  return {};
}

// Of the weight as a matrix, whether or not it is made of factors.
double WeightCount(const Graph& graph, const Node& node) {
  const Shape& input = graph.nodes[node.inputs[0]].shape;
  const std::size_t rows = node.kind == OpKind::kDense
                               ? input.count()
                               : node.kernel_height * node.kernel_width * input[2];
  return static_cast<double>(rows) * static_cast<double>(node.shape[node.shape.rank() - 1]);
}

// A multiplication and an addition for each weight and output pixel, and the bias. Factors are read
// and put together once for a batch, which is no sample's cost.
OperatorCost ProductCost(const Graph& graph, const Node& node) {
  const double weights = WeightCount(graph, node);
  const double outputs = static_cast<double>(node.shape.count());
  const double channels = static_cast<double>(node.shape[node.shape.rank() - 1]);
  OperatorCost cost = CostOfValues(graph, node, 2 * weights * (outputs / channels) + outputs);
  for (const std::size_t tensor : node.parameters) {
    cost.parameter_bytes += static_cast<double>(graph.parameters[tensor].shape.count());
  }
  cost.parameter_bytes *= kFloatBytes;
  return cost;
}

OperatorCost PoolCost(const Graph& graph, const Node& node) {
  const double window = static_cast<double>(node.kernel_height * node.kernel_width);
  return CostOfValues(graph, node, static_cast<double>(node.shape.count()) * window);
}

OperatorCost ReadOnceCost(const Graph& graph, const Node& node) {
  return CostOfValues(graph, node, InputCount(graph, node));
}

// Flatten is another view of the same values.
OperatorCost FreeCost(const Graph& /*graph*/, const Node& /*node*/) {
  return {};
}

constexpr OperatorRules kRules[] = {
    {OpKind::kInput, "input", InputCost, QuantizeRule::kSource, PruneRule::kPassesChannels, {}},
    {OpKind::kDense, "dense", ProductCost, QuantizeRule::kMultiply, PruneRule::kOwnsChannels, {}},
    {OpKind::kConv2d, "conv", ProductCost, QuantizeRule::kMultiply, PruneRule::kOwnsChannels, {}},
    {OpKind::kMaxPool,
     "maxpool",
     PoolCost,
     QuantizeRule::kCommutes,
     PruneRule::kPassesChannels,
     {}},
    {OpKind::kAvgPool, "avgpool", PoolCost, QuantizeRule::kRescale, PruneRule::kPassesChannels, {}},
    {OpKind::kGlobalAvgPool,
     "global_avgpool",
     ReadOnceCost,
     QuantizeRule::kRescale,
     PruneRule::kPassesChannels,
     {}},
    {OpKind::kRelu, "relu", ReadOnceCost, QuantizeRule::kClamp, PruneRule::kPassesChannels, {}},
    {OpKind::kFlatten,
     "flatten",
     FreeCost,
     QuantizeRule::kCommutes,
     PruneRule::kSpreadsChannels,
     {}},
};

}  // namespace

const OperatorRules& RulesOf(OpKind kind) {
  for (const OperatorRules& rules : kRules) {
    if (rules.kind == kind) return rules;
  }
  CheckFailed("RulesOf", "an operator without a row in the table");
}

OperatorCost CostOf(const Graph& graph) {
  OperatorCost total;
  for (const Node& node : graph.nodes) {
    const OperatorCost cost = RulesOf(node.kind).cost(graph, node);
    total.flops += cost.flops;
    total.activation_bytes += cost.activation_bytes;
    total.parameter_bytes += cost.parameter_bytes;
  }
  return total;
}

}  // namespace fl::nn
