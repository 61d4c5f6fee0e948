#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"
#include "fl/compression/deploy/importance.h"
#include "fl/compression/deploy/prune_channels.h"
#include "fl/compression/deploy/working_model.h"

namespace fl::deploy {

// What is zeroed together. A weight is taken as a matrix of inputs (all extents but the last) by
// output channels.
enum class SparsityPattern : std::uint8_t {
  kElement,  // Each weight by itself.
  kNOfM,     // Of every m inputs in a row, n stay; inputs beyond the last full m all stay.
  kBlock,    // Four neighbouring output channels of one input, as the sparse kernel reads them; the
             // last block of a row may be shorter.
};

struct PruneWeightsConfig {
  ImportanceConfig importance;
  SparsityPattern pattern = SparsityPattern::kElement;
  double sparsity = 0.8;    // Share of the weights (or blocks) that goes, in [0, 1).
  std::uint32_t n = 2;      // With kNOfM: in [1, m).
  std::uint32_t m = 4;      // In [2, 16].
  bool global = false;      // One ranking over all layers; else the same share of each.
  double layer_cap = 0.98;  // In one ranking: largest share of a layer that goes, in [0, 1).
  std::uint32_t steps = 1;  // Steps of the cubic schedule, with training in between, >= 1.
  std::vector<std::string> layers;  // Only these conv and dense layers; none: all.
};

// The share that is gone after a part `progress` in [0, 1] of the way (Zhu & Gupta 2017,
// arXiv:1710.01878): final * (1 - (1 - progress)^3).
double CubicSparsity(double final_sparsity, double progress);

// How many of the weights of conv and dense layers are zero.
struct SparsityCount {
  std::size_t zeros = 0;
  std::size_t weights = 0;
  std::size_t zero_blocks = 0;  // All of four neighbouring output channels.
  std::size_t blocks = 0;
};
SparsityCount CountZeros(const nn::Graph& graph, std::span<const float> parameters);
// "80.0 % of 105,226 weights and 12.0 % of the blocks of 4 are 0; ...", and what that buys.
std::string DescribeSparsity(const SparsityCount& count);

// Zeroes the weights of least score, and keeps masks of them: what a mask removed once stays
// removed. By kBlock int8 files get smaller (model_file.h) and dense layers faster; by the others
// only what an entropy coder writes gets smaller. Each step scores anew. Errors:
// kNotFound (an unknown layer, named with those that exist), kInvalidArgument (a layer without a
// matrix), those of ScoreWeights and of `retrain`. Same inputs, same bits.
Result<> PruneWeights(const PruneWeightsConfig& config, const ImportanceInputs& inputs,
                      const Retrain& retrain, WorkingModel& model);

}  // namespace fl::deploy
