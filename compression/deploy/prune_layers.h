#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/compression/deploy/importance.h"
#include "fl/compression/deploy/prune_channels.h"
#include "fl/compression/deploy/size_budget.h"
#include "fl/compression/deploy/working_model.h"

namespace fl::deploy {

// A part of the graph that can go as a whole.
struct LayerCut {
  std::string name;                  // Of the add that loses a branch, or of the layer.
  std::vector<std::string> removed;  // All nodes that go, in the graph's order.
  nn::Graph graph;                   // What is left.
};

// Every way to remove one branch of an add of two (with all that only the branch is for), or one
// conv or dense layer whose output has the shape of its input (with the norm that alone reads it,
// and with the activation behind where one stands before it, too). In the graph's order; the output
// and heads stay.
std::vector<LayerCut> FindLayerCuts(const nn::Graph& graph);

struct PruneLayersConfig {
  std::uint32_t count = 1;          // Cuts to make; not used with a budget, >= 1.
  SizeBudget budget;                // Cuts are made until it is kept.
  std::uint32_t samples = 512;      // To measure the loss on, at most, >= 1.
  std::vector<std::string> layers;  // Only cuts of these names; none: all.
};

struct PruneLayersOutcome {
  ModelSize before;
  ModelSize after;
  std::vector<std::string> cuts;  // "add2 (conv4, relu5, conv5)", in the order in which they fell.
  std::string unreached;          // What was not reached, and what was; empty: all was.
};

// Removes layers, each time the one without which the loss on the samples is least, once batch
// norms have been measured anew (Greedy; compare Elkerdawy et al. 2020, arXiv:2006.02659). Masks
// and decisions about what is removed are dropped. Errors: kNotFound (an unknown layer, named with
// those that exist), kInvalidArgument (no samples; no layer can go), kShapeMismatch, kNotFinite,
// those of `retrain`. Same inputs, same bits.
Result<PruneLayersOutcome> PruneLayers(const PruneLayersConfig& config,
                                       const ImportanceInputs& inputs, const Retrain& retrain,
                                       WorkingModel& model);

}  // namespace fl::deploy
