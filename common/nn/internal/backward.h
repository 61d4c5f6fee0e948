#pragma once

#include <cstddef>
#include <span>

#include "fl/common/nn/graph.h"
#include "fl/common/nn/internal/forward.h"

namespace fl::nn::internal {

// One operator's backward computation on a batch, for one of its operands. The parameters'
// gradient is computed with the first one.
struct BackwardCall {
  const Graph& graph;
  const Node& node;
  const KernelSet& kernels;
  const float* parameters;
  std::span<const float* const> operands;
  const float* output;
  const float* state;         // What the forward computation kept.
  float* output_gradient;     // May be used as scratch with the last operand.
  std::size_t operand;        // Index in the node's inputs.
  float* input_gradient;      // Of that operand, overwritten; null where nobody needs it.
  float* parameter_gradient;  // All of the graph's; this node's part is overwritten.
  std::size_t batch;
  float* scratch;  // As many floats as scratch_floats says.
  bool running;    // As in the forward computation.

  const float* input() const { return operands[0]; }
};

struct BackwardRules {
  // Null where the input's gradient is the output's as it stands (input, flatten, reshape).
  void (*run)(const BackwardCall& call);
  std::size_t (*scratch_floats)(const Graph& graph, const Node& node, std::size_t batch,
                                const KernelSet& kernels);
  // The input's gradient is written over the output's.
  bool in_place;
};

// The row of an operator; null when the table has none.
const BackwardRules* FindBackward(OpKind kind);
// Of those that are no products, pools or views.
const BackwardRules* FindLayerBackward(OpKind kind);

// A node's tensor in the gradient of all parameters.
inline float* GradientOf(const BackwardCall& call, std::size_t i) {
  return call.parameter_gradient + call.graph.parameters.offset(call.node.parameters[i]);
}

}  // namespace fl::nn::internal
