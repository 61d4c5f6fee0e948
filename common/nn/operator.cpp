#include "fl/common/nn/operator.h"

namespace fl::nn {
namespace {

constexpr double kFloatBytes = 4;

double InputCount(const Graph& graph, const Node& node) {
  double count = 0;
  for (const std::size_t input : node.inputs)
    count += static_cast<double>(graph.nodes[input].shape.count());
  return count;
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
  std::size_t rows = input.count();
  if (node.kind != OpKind::kDense) {
    rows = node.kernel_height * node.kernel_width;
    if (node.kind == OpKind::kConv2d) rows *= input[2] / node.groups;
  }
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

// A multiplication and an addition a value, or, of a layer norm, about as many again for its mean
// and variance.
OperatorCost NormCost(const Graph& graph, const Node& node) {
  const double steps = node.kind == OpKind::kBatchNorm ? 2 : 5;
  OperatorCost cost = CostOfValues(graph, node, steps * InputCount(graph, node));
  const double channels = static_cast<double>(node.shape[node.shape.rank() - 1]);
  cost.parameter_bytes = static_cast<double>(node.parameters.size()) * channels * kFloatBytes;
  return cost;
}

// Flatten and reshape are other views of the same values.
OperatorCost FreeCost(const Graph& /*graph*/, const Node& /*node*/) {
  return {};
}

constexpr OperatorRules kRules[] = {
    {OpKind::kInput, "input", InputCost, QuantizeRule::kSource, PruneRule::kPassesChannels, {}},
    {OpKind::kDense, "dense", ProductCost, QuantizeRule::kMultiply, PruneRule::kOwnsChannels,
     "Gemm"},
    {OpKind::kConv2d, "conv", ProductCost, QuantizeRule::kMultiply, PruneRule::kOwnsChannels,
     "Conv"},
    {OpKind::kDepthwise, "depthwise", ProductCost, QuantizeRule::kMultiply,
     PruneRule::kPassesChannels, "Conv"},
    {OpKind::kMaxPool, "maxpool", PoolCost, QuantizeRule::kCommutes, PruneRule::kPassesChannels,
     "MaxPool"},
    {OpKind::kAvgPool, "avgpool", PoolCost, QuantizeRule::kRescale, PruneRule::kPassesChannels,
     "AveragePool"},
    {OpKind::kGlobalAvgPool, "global_avgpool", ReadOnceCost, QuantizeRule::kRescale,
     PruneRule::kPassesChannels, "GlobalAveragePool"},
    {OpKind::kBatchNorm, "batchnorm", NormCost, QuantizeRule::kFold, PruneRule::kPassesChannels,
     "BatchNormalization"},
    {OpKind::kLayerNorm, "layernorm", NormCost, QuantizeRule::kFloat, PruneRule::kMixesChannels,
     "LayerNormalization"},
    {OpKind::kRelu, "relu", ReadOnceCost, QuantizeRule::kClamp, PruneRule::kPassesChannels, "Relu"},
    {OpKind::kRelu6, "relu6", ReadOnceCost, QuantizeRule::kClamp, PruneRule::kPassesChannels,
     "Clip"},
    {OpKind::kHardSwish, "hard_swish", ReadOnceCost, QuantizeRule::kLookup,
     PruneRule::kPassesChannels, "HardSwish"},
    {OpKind::kSigmoid, "sigmoid", ReadOnceCost, QuantizeRule::kLookup, PruneRule::kPassesChannels,
     "Sigmoid"},
    {OpKind::kTanh, "tanh", ReadOnceCost, QuantizeRule::kLookup, PruneRule::kPassesChannels,
     "Tanh"},
    {OpKind::kAdd, "add", ReadOnceCost, QuantizeRule::kRescale, PruneRule::kTiesChannels, "Add"},
    {OpKind::kMultiply, "multiply", ReadOnceCost, QuantizeRule::kRescale, PruneRule::kTiesChannels,
     "Mul"},
    {OpKind::kConcat, "concat", ReadOnceCost, QuantizeRule::kRescale, PruneRule::kJoinsChannels,
     "Concat"},
    {OpKind::kFlatten, "flatten", FreeCost, QuantizeRule::kCommutes, PruneRule::kSpreadsChannels,
     "Flatten"},
    {OpKind::kReshape, "reshape", FreeCost, QuantizeRule::kCommutes, PruneRule::kMixesChannels,
     "Reshape"},
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
