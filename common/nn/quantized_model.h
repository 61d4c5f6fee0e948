#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/graph.h"
#include "fl/common/nn/weight_coding.h"
#include "fl/common/nn/weight_grid.h"

namespace fl::nn {

// value = scale * (q - zero_point), q in [-128, 127].
struct ActivationScale {
  float scale = 1;
  std::int32_t zero_point = -128;
  friend bool operator==(const ActivationScale&, const ActivationScale&) = default;
};

// The integers of a dense, convolution or depthwise node; the floats of a layer norm.
struct QuantizedNode : CodedWeight {
  std::vector<std::int32_t> bias;  // Of scale input scale * weight_scale[c].
  std::vector<float> float_bias;   // In its place, of a dynamic model.
  std::vector<float> gamma;        // Layer norm: one for each channel.
  std::vector<float> beta;
  friend bool operator==(const QuantizedNode&, const QuantizedNode&) = default;
};

// An 8-bit model (the contract of LiteRT's specification and of ONNX's QDQ with signed types):
// weights symmetric for each output channel, activations asymmetric for each tensor, accumulators
// s32. With R(v) = clamp(round_half_even(v) + z_y) and s_x, z_x of an operand, s_y, z_y of the
// output, in fp32 and in this order:
//
//   product   R(float(acc) * float(s_x s_w[c] / s_y)), acc = sum q_w (q_x - z_x) + bias[c]; a
//             dense or convolution node that is the last yields fp32: float(acc) * (s_x s_w[c])
//   average   R(float(sum (q_x - z_x)) * float(s_x / s_y / pixels))
//   add       R((float(q_0 - z_0) m_0 + float(q_1 - z_1) m_1) + ...), m_k = float(s_k / s_y)
//   multiply  R((float(q_0 - z_0) float(q_1 - z_1) ...) * float(s_0 s_1 ... / s_y))
//   concat    R(float(q_k - z_k) m_k)
//   sigmoid, tanh, hard swish: a table of 256 values computed in fp64
//   layernorm fp64, from exact integer sums
//   relu      max(q, z); relu6 also min(q, z + round_half_even(6 / s)): scale and zero point, like
//             those of maxpool, flatten and reshape, are those of the input
//
// A dynamic model has weights like that and no scales of activations: each product rounds what it
// reads sample by sample, over the values that are there (ScaleOf their extremes), and yields fp32,
//   float(acc) * float(s_x s_w[c]) + float_bias[c],   acc = sum q_w (q_x - z_x);
// everything else is computed in fp32. It needs no calibration and nothing is cut off. All x86
// paths give the same bits; where the compiler fuses multiply and add (arm64), what is in fp32 may
// differ in the last one.
struct QuantizedModel {
  Graph graph;
  std::vector<ActivationScale> activations;  // One for each node: of its output; none: dynamic.
  std::vector<QuantizedNode> nodes;  // One for each node; empty where a node has no parameters.

  bool dynamic() const { return activations.empty(); }
  // kMalformed names the node and what is wrong: sizes, scales that are not positive and finite,
  // -128 as a weight, weights that their coding cannot hold, zero points out of range, scales that
  // must agree (see above) and do not, sums that could overflow 32 bits. kUnsupported: a batch norm
  // (fold it first: pass fold_batchnorm).
  Result<> Validate() const;
};

// Scale and zero point that cover a range; the range is widened to hold zero.
ActivationScale ScaleOf(const ActivationRange& range);

// The scales of all nodes from their ranges. What only a ReLU or a pool by maximum reads takes the
// range of its reader, so that no code is spent on values that are cut off; what keeps its input's
// scale gets it. kInvalidArgument, kNotFinite.
Result<std::vector<ActivationScale>> ScalesOf(const Graph& graph,
                                              std::span<const ActivationRange> ranges);

// Quantizes fp32 parameters with given scales, which must agree as Validate says. `weights` has a
// spec for each node, or is empty: 8 bits by channel. A node that has a grid in `grids` is rounded
// to that one instead: weights that lie on it keep their codes. kInvalidArgument when sizes or
// specs do not fit or a reduction is so long that 32 bits could overflow; kNotFinite; kUnsupported
// for a batch norm and for weights made of factors.
Result<QuantizedModel> Quantize(const Graph& graph, std::span<const float> parameters,
                                std::span<const ActivationScale> scales,
                                std::span<const WeightSpec> weights = {},
                                const WeightGrids& grids = {});
// With the scales of ranges that were observed (ObserveRanges).
Result<QuantizedModel> Quantize(const Graph& graph, std::span<const float> parameters,
                                std::span<const ActivationRange> ranges,
                                std::span<const WeightSpec> weights = {},
                                const WeightGrids& grids = {});

// A dynamic model. The errors of Quantize.
Result<QuantizedModel> QuantizeDynamic(const Graph& graph, std::span<const float> parameters,
                                       std::span<const WeightSpec> weights = {},
                                       const WeightGrids& grids = {});

// The fp32 parameters that the integers stand for, in the layout's order.
NamedTensors Dequantize(const QuantizedModel& model);

}  // namespace fl::nn
