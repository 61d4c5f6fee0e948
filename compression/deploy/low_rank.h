#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/deploy/factor_layer.h"

namespace fl::deploy {

enum class RankRule : std::uint8_t {
  kFixed,        // `rank`; Tucker's other rank in proportion to the channels.
  kEnergy,       // LayerFactorizer::EnergyRanks(energy).
  kVariational,  // LayerFactorizer::VariationalRanks().
  kBudget,       // The best ranks within `budget`.
};

enum class LowRankMeasure : std::uint8_t { kParameters, kMacs, kError };

struct LowRankConfig {
  LowRankMethod method = LowRankMethod::kSvd;  // Dense layers and 1x1 kernels always by kSvd.
  std::vector<std::string> layers;  // Names; none: all dense layers and convolutions of one group.
  RankRule rule = RankRule::kBudget;
  std::size_t rank = 0;  // kFixed: >= 1.
  double energy = 0.9;   // kEnergy: in (0, 1].
  // kBudget: how much of the layers' parameters or MACs is left, in (0, 1); or, by kError, the
  // share of a layer's output variance that may be lost, in (0, 1).
  double budget = 0.5;
  LowRankMeasure measure = LowRankMeasure::kParameters;
  bool weighted = true;       // By the layers' inputs on the calibration samples.
  bool random_start = false;  // Fresh weights in the factors' shapes, to be trained from there.

  // kInvalidArgument names the field, the value and the range.
  Result<> Validate() const;
};

// What became of one layer.
struct LowRankLayer {
  std::string name;
  Ranks ranks{0, 0};  // 0 and 0 where it stays.
  std::size_t parameters_before = 0;
  std::size_t parameters_after = 0;
  std::size_t macs_before = 0;  // Of one sample.
  std::size_t macs_after = 0;
  double error = 0;    // Share of the output's variance that is lost (see Factorization).
  std::string reason;  // Why it stays as it is; empty where it was replaced.
};

struct LowRankModel {
  nn::Graph graph;
  std::vector<float> parameters;
  std::vector<LowRankLayer> layers;  // In the graph's order.
};

// Replaces layers by chains of thinner ones (LayerFactorizer): NAME becomes NAME_a, NAME_b, ... The
// last factor whose kernel is larger than 1x1 carries the stride (else the first one), all carry
// the padding; the last one has the bias. A layer stays where no factors have fewer parameters
// (r < m n / (m + n) for an m x n matrix), where it has several groups, and for kSpatialSvd where
// `same` padding with a stride pads the top otherwise than without (kCp then has one depthwise
// kernel in the middle).
//
// With RankRule::kBudget all layers share it: each starts at rank 1, and the next step on the
// convex hull of (cost, error) that gains most for its cost is taken as long as one fits; at the
// end of its hull a layer is as it was. By kError each layer gets, by bisection, the least rank
// within.
//
// `samples`: `count` inputs of the graph for the weighting and the errors; with none, or without
// `weighted`, weights alone count. Errors: kInvalidArgument (unknown layers, which lists those
// there are; samples that do not fit; a budget that even rank 1 everywhere exceeds, with what it
// reaches), kNotFinite, kUnsupported (weights made of lora or fedpara). Same arguments, same bits
// on one machine and build. Thread safety: pure function.
Result<LowRankModel> FactorizeLayers(const nn::Graph& graph, std::span<const float> parameters,
                                     std::span<const float> samples, std::size_t count,
                                     const LowRankConfig& config, const RngStream& rng);

}  // namespace fl::deploy
