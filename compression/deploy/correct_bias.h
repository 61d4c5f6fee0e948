#pragma once

#include <span>

#include "fl/common/base/result.h"
#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/visit_outputs.h"
#include "fl/compression/deploy/round_weights.h"

namespace fl::deploy {

struct BiasCorrection {
  std::size_t layers = 0;
  double largest_shift = 0;  // Of any output channel's mean, before it was taken away.
};

// Bias correction (Nagel et al. 2019, arXiv:1906.04721, section 4.2): rounding shifts the mean of
// each output channel, and what is known can be taken away:
//   b <- b - (E[W^ x^] - E[W x])
// x is the layer's input in the model of `parameters`, x^ in the rounded one, whose layers before
// this are already corrected; with `ranges` (one for each node) x^ is rounded to 8 bits. Changes
// the biases in `rounded`. kInvalidArgument when samples, ranges or parameters do not fit the
// graph; kNotFinite.
Result<BiasCorrection> CorrectBias(const nn::Graph& graph, std::span<const float> parameters,
                                   const nn::SampleValues& samples,
                                   std::span<const nn::ActivationRange> ranges,
                                   RoundedWeights& rounded);

}  // namespace fl::deploy
