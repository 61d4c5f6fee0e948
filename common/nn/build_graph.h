#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/nn/graph.h"

namespace fl::nn {

// Bounds on what a description may ask for; a model file or a plan is never trusted beyond them.
struct GraphLimits {
  std::size_t layers_max = 256;
  std::size_t extent_max = 1U << 20;  // Any one extent: pixels, channels, units.
  std::uint64_t activation_max = std::uint64_t{1} << 28;  // Values of one layer's output.
  std::uint64_t parameters_max = std::uint64_t{1} << 31;  // Values of all tensors together.
};

// Reads a network from readable lines, one layer each, and infers all shapes. `input` is the shape
// of one sample, channels last: {features} or {height, width, channels}.
//
//   conv CHANNELS HxW [stride=N] [same|valid] [groups=N]     dense UNITS     batchnorm   layernorm
//   depthwise HxW [stride=N] [same|valid]                    relu            relu6       hard_swish
//   maxpool N|HxW [stride=N] [same|valid]                    sigmoid         tanh        flatten
//   avgpool N|HxW [stride=N] [same|valid]                    global_avgpool  reshape N|HxWxC
//   add NAME...     multiply NAME...     concat NAME...
//
// A layer reads the one before it, or the one that its last word names: from=NAME. add and multiply
// take operands of one shape (multiply also one of {channels}, which scales an image's channels);
// concat joins channels. Layers are named conv1, relu1, dense1, ... or as a word before the line
// says ("stem: conv 16 3x3"); "input" is the graph's input. A layer's parameters are NAME.weight
// and NAME.bias; of batchnorm NAME.gamma, .beta, .mean, .variance; of layernorm (over the last
// extent) NAME.gamma, .beta. A layer that nobody reads is a head of its own.
//
// After a conv's or a dense layer's own words, a weight made of factors (see Factoring; the plain
// weight is neither trained nor sent): lora=RANK [alpha=N] [both], or fedpara=RANK. alpha is
// RANK unless given.
//
// Padding is `valid` unless said otherwise; `same` pads as TensorFlow does (output = ceil(input /
// stride)). A pool's stride is its kernel's height unless given. Average pooling divides by the
// pixels inside the image. `loss`: "softmax_cross_entropy" or "mean_squared_error".
//
// kInvalidArgument names the layer (counted from 1), its line and the shapes; kLimitExceeded
// likewise. `failed_layer`, where not null, receives the number of the layer at fault, 0 when it is
// the input or the loss.
Result<Graph> BuildGraph(const Shape& input, std::span<const std::string> layers,
                         std::string_view loss, std::size_t* failed_layer = nullptr,
                         const GraphLimits& limits = {});

// The lines from which BuildGraph makes this graph again; a model file stores them.
std::vector<std::string> DescribeLayers(const Graph& graph);

// "softmax_cross_entropy", "mean_squared_error".
std::string_view LossName(LossKind loss);

// Rows and columns that `same` padding puts before the first pixel of an axis (0 for valid).
std::size_t PaddingBefore(std::size_t input, std::size_t output, std::size_t kernel,
                          std::size_t stride, bool same);

}  // namespace fl::nn
