#pragma once

#include <cstddef>

#include "fl/common/nn/graph.h"
#include "fl/common/nn/internal/image.h"
#include "fl/common/nn/kernels/float_kernels.h"

namespace fl::nn::internal {

// One operator's forward computation on a batch.
struct ForwardCall {
  const Graph& graph;
  const Node& node;
  const kernels::FloatKernels& kernels;
  const float* parameters;  // All of the graph's.
  const float* input;
  float* output;  // May be the input for ReLU.
  std::size_t batch;
  float* scratch;  // As many floats as scratch_floats says.
  bool relu;       // A product applies the ReLU that follows it.
};

struct ForwardRules {
  // Null where the output is the input as it stands (input, flatten).
  void (*run)(const ForwardCall& call);
  // Null where no scratch is needed.
  std::size_t (*scratch_floats)(const Graph& graph, const Node& node,
                                const kernels::FloatKernels& kernels);
};

// The row of an operator; null when the table has none.
const ForwardRules* FindForward(OpKind kind);

// Floats of all panels of a depth x columns matrix.
std::size_t PanelFloats(std::size_t depth, std::size_t columns,
                        const kernels::FloatKernels& kernels);

const float* ParameterOf(const Graph& graph, const Node& node, std::size_t i,
                         const float* parameters);

// The image that a window reads: the input in place, or its padded copy in `scratch`; and its row's
// length.
struct PaddedImage {
  const float* data;
  std::size_t row;
};
PaddedImage PaddedFor(const Window& window, const float* image, float* scratch);

}  // namespace fl::nn::internal
