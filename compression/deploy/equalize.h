#pragma once

#include <cstddef>
#include <span>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"

namespace fl::deploy {

struct Equalized {
  std::size_t pairs = 0;     // Of products that could share their ranges.
  std::size_t sweeps = 0;    // Until no scale moved by more than a thousandth, at most 20.
  double largest_scale = 1;  // That any channel was multiplied or divided by in all.
};

// Cross-layer equalization (Nagel et al. 2019, arXiv:1906.04721): between a product and the next,
// with nothing between that a positive factor could not pass (ReLU, pools, flatten), channel i is
// divided by s_i on one side and multiplied on the other, so that both use the same range and one
// scale per tensor fits all channels:
//   s_i = sqrt(r1_i * r2_i) / r2_i,   W1 <- W1 / s,  b1 <- b1 / s,  W2 <- W2 * s
// r1_i is the largest |weight| of output channel i of the first, r2_i of input channel i of the
// second. What the model computes stays the same but for rounding. Layers that are read more than
// once are left as they are, and so is what stands before relu6, sigmoid and the like. Matters for
// one scale per tensor and for depthwise layers, little for a scale per channel.
// kInvalidArgument when the parameters are not the graph's; kNotFinite.
Result<Equalized> Equalize(const nn::Graph& graph, std::span<float> parameters);

}  // namespace fl::deploy
