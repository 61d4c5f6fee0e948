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
//   conv CHANNELS HxW [stride=N] [same|valid]      maxpool N|HxW [stride=N] [same|valid]      relu
//   dense UNITS      global_avgpool                avgpool N|HxW [stride=N] [same|valid] flatten
//
// After a conv's or a dense layer's own words, a weight made of factors (see Factoring; the plain
// weight is neither trained nor sent): lora=RANK [alpha=N] [both], or fedpara=RANK. alpha is
// RANK unless given.
//
// Padding is `valid` unless said otherwise; `same` pads as TensorFlow does (output = ceil(input /
// stride)). A pool's stride is its kernel's height unless given. Average pooling divides by the
// pixels inside the image. Layers are named conv1, relu1, dense1, ... and a layer's parameters
// NAME.weight and NAME.bias. `loss`: "softmax_cross_entropy" or "mean_squared_error".
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
