#pragma once

#include <cstddef>

#include "fl/common/nn/graph.h"
#include "fl/common/nn/kernels/float_kernels.h"

namespace fl::nn::internal {

// One operator's backward computation on a batch.
struct BackwardCall {
  const Graph& graph;
  const Node& node;
  const kernels::FloatKernels& kernels;
  const float* parameters;
  const float* input;
  const float* output;
  float* output_gradient;     // May be used as scratch.
  float* input_gradient;      // Overwritten; null where nobody needs it.
  float* parameter_gradient;  // All of the graph's; this node's part is overwritten.
  std::size_t batch;
  float* scratch;  // As many floats as scratch_floats says.
};

struct BackwardRules {
  // Null where the input's gradient is the output's as it stands (input, flatten).
  void (*run)(const BackwardCall& call);
  std::size_t (*scratch_floats)(const Graph& graph, const Node& node, std::size_t batch,
                                const kernels::FloatKernels& kernels);
  // The input's gradient is written over the output's.
  bool in_place;
};

// The row of an operator; null when the table has none.
const BackwardRules* FindBackward(OpKind kind);

}  // namespace fl::nn::internal
