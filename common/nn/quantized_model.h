#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/graph.h"

namespace fl::nn {

// value = scale * (q - zero_point), q in [-128, 127].
struct ActivationScale {
  float scale = 1;
  std::int32_t zero_point = -128;
  friend bool operator==(const ActivationScale&, const ActivationScale&) = default;
};

// The integers of a dense or convolution node.
struct QuantizedNode {
  std::vector<std::int8_t> weight;  // Output channel first: units x inputs, or channels_out x
                                    // height x width x channels_in; in [-127, 127], never -128.
  std::vector<float> weight_scale;  // One for each output channel, > 0.
  std::vector<std::int32_t> bias;   // Of scale input scale * weight_scale[c].
  friend bool operator==(const QuantizedNode&, const QuantizedNode&) = default;
};

// An 8-bit model (the contract of LiteRT's specification and of ONNX's QDQ with signed types):
// weights symmetric for each output channel, activations asymmetric for each tensor, accumulators
// s32. A product's output is
//   q = clamp(round_half_even(float(acc) * (s_x * s_w[c] / s_y)) + z_y),  acc = sum q_w (q_x - z_x)
//   + bias[c].
// ReLU is a clamp at the zero point. A product that is the last node yields fp32: float(acc) * (s_x
// * s_w[c]).
struct QuantizedModel {
  Graph graph;
  std::vector<ActivationScale> activations;  // One for each node: of its output.
  std::vector<QuantizedNode> nodes;  // One for each node; empty where a node has no parameters.

  // kMalformed names the node and what is wrong: sizes, scales that are not positive and finite,
  // -128 as a weight, zero points out of range, scales that must agree (pools by maximum, ReLU,
  // flatten) and do not, accumulators that could overflow 32 bits.
  Result<> Validate() const;
};

// Quantizes fp32 parameters with the ranges of the activations (ObserveRanges). kInvalidArgument
// when sizes do not fit or a reduction is so long that 32 bits could overflow; kNotFinite.
Result<QuantizedModel> Quantize(const Graph& graph, std::span<const float> parameters,
                                std::span<const ActivationRange> ranges);

// The fp32 parameters that the integers stand for, in the layout's order.
NamedTensors Dequantize(const QuantizedModel& model);

// Scale and zero point that cover a range; the range is widened to hold zero.
ActivationScale ScaleOf(const ActivationRange& range);

}  // namespace fl::nn
