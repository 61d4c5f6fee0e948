#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/graph.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/deploy/channel_groups.h"
#include "fl/compression/deploy/own_scores.h"

namespace fl::deploy {

// What a channel (its column F of weights and its bias) or a single weight w is worth; the least
// goes first. g is the loss's gradient, a mean over one minibatch; "mean" is over minibatches.
//
//   kL1: sum |w| (Li et al. 2017, arXiv:1608.08710)
//
//   kL2: sqrt(sum w^2)
//
//   kGradient: mean of sum |g|
//
//   kTaylor: mean of (sum w g)^2, squared in each minibatch, then averaged (Molchanov et al. 2019,
//     arXiv:1906.10771)
//
//   kGeometricMedian: sum over the layer's channels j of ||F - F_j||, so that what others can stand
//     in for goes first (He et al. 2019, arXiv:1811.00250). Channels only.
//
//   kBatchNormGamma: |gamma| of the batch norm behind (Liu et al. 2017, arXiv:1708.06519). Channels
//     only.
//
//   kSnip: mean of sum |w g| (Lee et al. 2019, arXiv:1810.02340)
//
//   kRandom: drawn, what every other criterion must beat
//
//   kOwn: the caller's own scores
//
// kL1, kL2 and kGeometricMedian look at a channel's weights with the batch norm behind folded in.
enum class Criterion : std::uint8_t {
  kL1,
  kL2,
  kGradient,
  kTaylor,
  kGeometricMedian,
  kBatchNormGamma,
  kSnip,
  kRandom,
  kOwn,
};
// As in a pass list, in the order of Criterion.
inline constexpr std::string_view kCriterionNames[] = {
    "l1",   "l2",     "gradient", "taylor", "geometric_median", "batchnorm_gamma",
    "snip", "random", "own"};
bool NeedsGradient(Criterion criterion);

struct ImportanceConfig {
  Criterion criterion = Criterion::kL1;
  std::uint32_t batch = 32;    // Samples of a minibatch, >= 1.
  std::uint32_t batches = 32;  // Minibatches whose gradient is taken, >= 1.
  OwnScores scores;            // For kOwn.
};

// What gradients are taken on; used where NeedsGradient, and the stream for them and for kRandom.
struct ImportanceInputs {
  const data::Subset& samples;
  RngStream rng;
};

// Whether a loss can be taken on the samples: kInvalidArgument without any, kShapeMismatch when
// features, classes or targets are not the graph's.
Result<> CheckSamples(const nn::Graph& graph, const data::Subset& samples);

// A score for each unit of the groups with `eligible`, else 0: the mean over the channels that it
// owns, each divided by the mean of its layer, so that layers can be compared (kRandom, kOwn and
// kBatchNormGamma as they are). Same inputs, same bits. Errors: kInvalidArgument (no samples for
// gradients, no batch norm behind a layer, no own scores of one), kNotFound (own scores of an
// unknown layer), kShapeMismatch (their number; samples that are not the graph's), kNotFinite.
Result<std::vector<double>> ScoreUnits(const nn::Graph& graph, std::span<const float> parameters,
                                       const ChannelGroups& groups,
                                       std::span<const std::uint8_t> eligible,
                                       const ImportanceConfig& config,
                                       const ImportanceInputs& inputs);

// A score for each value of the named layers' weights, in the layout's flat order; 0 for all other
// coordinates. Not divided by anything. Errors as above, and kInvalidArgument for the criteria of
// channels.
Result<std::vector<double>> ScoreWeights(const nn::Graph& graph, std::span<const float> parameters,
                                         std::span<const std::size_t> nodes,
                                         const ImportanceConfig& config,
                                         const ImportanceInputs& inputs);

}  // namespace fl::deploy
