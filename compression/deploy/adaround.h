#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/visit_outputs.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/deploy/round_weights.h"

namespace fl::deploy {

// AdaRound (Nagel et al. 2020, arXiv:2004.10568): whether a weight is rounded up or down is learned
// layer by layer, so that the layer's output on real inputs stays, not each weight:
//   W^ = s * clamp(floor(W / s) + h(V)),   h(V) = clip(1.2 * sigmoid(V) - 0.1, 0, 1)
//   minimise ||W x - W^ x^||^2 + regularizer * sum(1 - |2 h(V) - 1|^beta)
// by Adam; beta falls from 20 to 2 after a warm start without the second term. x^ is the input that
// the rounded layers before this one make.
struct AdaRoundConfig {
  std::uint32_t iterations = 1000;          // For each layer, >= 1.
  std::uint32_t batch = 32;                 // Samples an iteration, >= 1.
  double learning_rate = 0.01;              // Adam's, > 0. A smaller one leaves V undecided.
  double regularizer = 0.01;                // >= 0.
  double warm_start = 0.2;                  // Share of the iterations, in [0, 1).
  std::uint32_t bits_max = 4;               // Layers of more bits keep the nearest values.
  RngStream rng = RngStream(1);             // Draws the batches.
  const std::atomic<bool>* stop = nullptr;  // Ends it when true, with kUnavailable; null: nothing.
  Result<> Validate() const;
};

struct AdaRounded {
  std::size_t layers = 0;  // Whose rounding was learned; one that came out worse keeps the nearest.
  std::size_t changed = 0;  // Weights that are not at their nearest value.
  double error_before = 0;  // Mean squared error of the layers' outputs, summed over layers.
  double error_after = 0;
};

// Changes the weights in `rounded`, whose grids stay. kInvalidArgument when a setting, samples,
// ranges or parameters cannot be meant or do not fit the graph; kNotFinite. Same inputs, same bits
// on one machine and build.
Result<AdaRounded> AdaRound(const nn::Graph& graph, std::span<const float> parameters,
                            const nn::SampleValues& samples,
                            std::span<const nn::ActivationRange> ranges,
                            const AdaRoundConfig& config, RoundedWeights& rounded);

}  // namespace fl::deploy
