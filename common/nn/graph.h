#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/tensor/tensor.h"

namespace fl::nn {

enum class OpKind : std::uint8_t {
  kInput,
  kDense,
  kConv2d,
  kMaxPool,
  kAvgPool,
  kGlobalAvgPool,
  kRelu,
  kFlatten,
};

// One operation of the graph. Shapes are of one sample, channels last (a batch dimension comes
// first at run time).
struct Node {
  OpKind kind = OpKind::kInput;
  std::string name;                 // Unique: "conv1", "relu1", "dense2", ...
  std::vector<std::size_t> inputs;  // Indices of earlier nodes.
  Shape shape;                      // Of the output.
  std::size_t kernel_height = 0;    // Conv2d and pools.
  std::size_t kernel_width = 0;
  std::size_t stride = 1;
  bool same_padding = false;            // Else valid.
  std::vector<std::size_t> parameters;  // Indices of tensors in the layout: weight, then bias.
};

enum class LossKind : std::uint8_t { kSoftmaxCrossEntropy, kMeanSquaredError };

// A model as data: nodes in an order in which inputs come first, the last one the output;
// parameters by name. Weight of a dense layer: inputs x outputs; of a convolution: kernel_height x
// kernel_width x channels_in x channels_out (HWIO). Training, quantized inference and the passes
// all read and rewrite this.
struct Graph {
  std::vector<Node> nodes;
  TensorLayout parameters;  // "dense1.weight", "dense1.bias", ...
  LossKind loss = LossKind::kSoftmaxCrossEntropy;

  const Shape& input_shape() const { return nodes.front().shape; }
  const Shape& output_shape() const { return nodes.back().shape; }
};

}  // namespace fl::nn
