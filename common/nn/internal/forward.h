#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "fl/common/nn/graph.h"
#include "fl/common/nn/internal/image.h"
#include "fl/common/nn/kernels/float_kernels.h"
#include "fl/common/nn/kernels/layer_kernels.h"

namespace fl::nn::internal {

// The kernels of one instruction set.
struct KernelSet {
  const kernels::FloatKernels& floats;
  const kernels::LayerKernels& layers;
};

// One operator's forward computation on a batch.
struct ForwardCall {
  const Graph& graph;
  const Node& node;
  const KernelSet& kernels;
  const float* parameters;                 // All of the graph's.
  std::span<const float* const> operands;  // One for each of the node's inputs.
  float* output;                           // May be the first operand where the rules say so.
  std::size_t batch;
  float* scratch;  // As many floats as scratch_floats says.
  float* state;    // As many floats as state_floats says; null in inference.
  bool relu;       // A product applies the ReLU that follows it.
  bool running;    // A batch norm uses the statistics among the parameters, also in training.

  const float* input() const { return operands[0]; }
};

// Whether an operator's output may lie where its first operand does.
enum class InPlace : std::uint8_t {
  kNever,
  kInInference,  // The way back needs what would be overwritten.
  kAlways,
};

struct ForwardRules {
  // Null where the output is the input as it stands (input, flatten, reshape).
  void (*run)(const ForwardCall& call);
  // Null where no scratch is needed.
  std::size_t (*scratch_floats)(const Graph& graph, const Node& node, const KernelSet& kernels);
  InPlace in_place = InPlace::kNever;
  // What training keeps for the way back and for statistics; null: nothing.
  std::size_t (*state_floats)(const Node& node, std::size_t batch) = nullptr;
};

// The row of an operator; null when the table has none.
const ForwardRules* FindForward(OpKind kind);
// Of those that are no products, pools or views.
const ForwardRules* FindLayerForward(OpKind kind);

// Floats of all panels of a depth x columns matrix.
std::size_t PanelFloats(std::size_t depth, std::size_t columns,
                        const kernels::FloatKernels& kernels);

const float* ParameterOf(const Graph& graph, const Node& node, std::size_t i,
                         const float* parameters);

// The last extent.
std::size_t ChannelsOf(const Node& node);

// A convolution as its groups compute it: a window over the channels of one group. `first_input`
// and `first_output` are where a group's channels begin, in pixels of all channels.
struct GroupedWindow {
  Window window;  // With the channels of one group.
  std::size_t groups = 1;
  std::size_t inputs = 0;   // Channels of all groups together.
  std::size_t outputs = 0;  // Likewise.
};
GroupedWindow GroupedWindowOf(const Graph& graph, const Node& node);

// The image that one group's window reads: the input in place, or the group's channels with zeros
// around them in `scratch` (window.padded().count() floats); and its row's length.
struct PaddedImage {
  const float* data;
  std::size_t row;
};
PaddedImage PaddedFor(const GroupedWindow& grouped, std::size_t group, const float* image,
                      float* scratch);
PaddedImage PaddedFor(const Window& window, const float* image, float* scratch);

}  // namespace fl::nn::internal
