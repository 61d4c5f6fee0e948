#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "fl/common/nn/graph.h"

namespace fl::nn {

// What one sample costs in an operator.
struct OperatorCost {
  double flops = 0;             // Multiplications and additions (comparisons in a maximum).
  double activation_bytes = 0;  // fp32 read and written.
  double parameter_bytes = 0;   // fp32 read.
  friend bool operator==(const OperatorCost&, const OperatorCost&) = default;
};

// How an operator lies in an integer model.
enum class QuantizeRule : std::uint8_t {
  kMultiply,  // Per-channel s8 weights, s32 accumulators, requantized.
  kCommutes,  // Works on the quantized values as they are; keeps scale and zero point (maximum,
              // flatten).
  kRescale,   // Integer accumulators, explicit rescale (averages, sums, products, concat).
  kClamp,     // A clamp of the quantized values (ReLU, ReLU6).
  kLookup,    // A table of 256 entries (sigmoid, tanh, hard swish).
  kFold,      // Has no integer form: folded into the product before it (batch norm).
  kFloat,     // In fp32 between two quantizations (layer norm).
  kSource,    // The graph's input: quantized from fp32.
};

// How output channels follow from input channels, for passes that remove channels.
enum class PruneRule : std::uint8_t {
  kOwnsChannels,     // Output channels are columns of its weight; input channels are rows.
  kPassesChannels,   // Output channel c is input channel c, and so are its parameters.
  kTiesChannels,     // Output channel c is made of channel c of each operand.
  kJoinsChannels,    // The operands' channels one after the other.
  kMixesChannels,    // Every output needs all channels: none before it can be removed.
  kSpreadsChannels,  // Output i is channel i mod channels (flatten).
};

using CostFunction = OperatorCost (*)(const Graph& graph, const Node& node);

// One row for each operator; forward.h and backward.h (internal) hold the tables of its two
// computations.
struct OperatorRules {
  OpKind kind = OpKind::kInput;
  std::string_view name;                 // "dense", as in a layer's line and name.
  CostFunction cost = nullptr;           // Required.
  std::optional<QuantizeRule> quantize;  // Required.
  std::optional<PruneRule> prune;        // Required of none.
  std::optional<std::string_view> onnx;  // Export: the operator of ONNX. Required of none.
};

// Which rules each operator must have. A test fails when one is missing.
struct RuleSlot {
  std::string_view name;
  bool required;
};
inline constexpr RuleSlot kRuleSlots[] = {{"forward", true}, {"backward", true},
                                          {"cost", true},    {"quantize", true},
                                          {"prune", false},  {"export", false}};

inline constexpr OpKind kOpKinds[] = {
    OpKind::kInput,     OpKind::kDense,   OpKind::kConv2d,        OpKind::kDepthwise,
    OpKind::kMaxPool,   OpKind::kAvgPool, OpKind::kGlobalAvgPool, OpKind::kBatchNorm,
    OpKind::kLayerNorm, OpKind::kRelu,    OpKind::kRelu6,         OpKind::kHardSwish,
    OpKind::kSigmoid,   OpKind::kTanh,    OpKind::kAdd,           OpKind::kMultiply,
    OpKind::kConcat,    OpKind::kFlatten, OpKind::kReshape};

const OperatorRules& RulesOf(OpKind kind);

// The sum over the graph's nodes, of one sample's forward pass.
OperatorCost CostOf(const Graph& graph);

}  // namespace fl::nn
