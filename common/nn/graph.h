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
  kDepthwise,
  kMaxPool,
  kAvgPool,
  kGlobalAvgPool,
  kBatchNorm,
  kLayerNorm,
  kRelu,
  kRelu6,
  kHardSwish,
  kSigmoid,
  kTanh,
  kAdd,
  kMultiply,
  kConcat,
  kFlatten,
  kReshape,
};

// A weight that is made of smaller tensors, which are trained and sent in its place. Every weight
// is taken as a matrix: all extents but the last are its rows, the last one (the outputs) its
// columns.
//
//   kLora: W0 + scale * A B, with W0 ("NAME.weight") and A ("NAME.lora_a", rows x rank) as the
//     seed made them and B ("NAME.lora_b", rank x columns) trained from zero: a mean of updates is
//     then the update of the mean (Sun et al. 2024, arXiv:2403.12313). With `both` A is trained
//     too (Hu et al. 2021, arXiv:2106.09685), and the mean of products is no longer the product
//     of the means.
//   kFedPara: (X1 Y1) o (X2 Y2), elementwise product, all four trained ("NAME.x1", rows x rank;
//     "NAME.y1", rank x columns; ...): the rank is up to rank^2 (Hyeon-Woo et al. 2022,
//     arXiv:2108.06098).
enum class FactorKind : std::uint8_t { kNone, kLora, kFedPara };
struct Factoring {
  FactorKind kind = FactorKind::kNone;
  std::size_t rank = 0;
  std::size_t alpha = 0;  // LoRA's scale is alpha / rank.
  bool both = false;      // LoRA: A is trained too.
};

// One operation of the graph. Shapes are of one sample, channels last (a batch dimension comes
// first at run time).
struct Node {
  OpKind kind = OpKind::kInput;
  std::string name;                 // Unique: "conv1", "relu1", "dense2", ...
  std::vector<std::size_t> inputs;  // Indices of earlier nodes: one, or the operands in order.
  Shape shape;                      // Of the output.
  std::size_t kernel_height = 0;    // Convolutions and pools.
  std::size_t kernel_width = 0;
  std::size_t stride = 1;
  bool same_padding = false;  // Else valid.
  std::size_t groups = 1;     // Conv2d: input and output channels fall into so many groups.
  // Indices of tensors in the layout: weight, then bias. With factors: weight, lora_a, lora_b,
  // bias; or x1, y1, x2, y2, bias. Batch norm: gamma, beta, mean, variance; layer norm: gamma,
  // beta.
  std::vector<std::size_t> parameters;
  Factoring factoring;
};

// Added to a variance before its root is taken, in batch and layer norms.
inline constexpr float kNormEpsilon = 1e-5F;

enum class LossKind : std::uint8_t { kSoftmaxCrossEntropy, kMeanSquaredError };

// A model as data: nodes in an order in which inputs come first, the last one the output;
// parameters by name. Weight of a dense layer: inputs x outputs; of a convolution: kernel_height x
// kernel_width x channels_in / groups x channels_out (HWIO); depthwise: kernel_height x
// kernel_width x channels. A node that nobody reads is a head of its own, which inference leaves
// out. Training, quantized inference and the passes all read and rewrite this.
struct Graph {
  std::vector<Node> nodes;
  TensorLayout parameters;          // "dense1.weight", "dense1.bias", ...
  std::vector<std::size_t> frozen;  // Tensors that training leaves as they are, ascending.
  // Tensors that training measures instead of learning them, ascending: means and variances.
  std::vector<std::size_t> statistics;
  LossKind loss = LossKind::kSoftmaxCrossEntropy;

  const Shape& input_shape() const { return nodes.front().shape; }
  const Shape& output_shape() const { return nodes.back().shape; }
};

}  // namespace fl::nn
