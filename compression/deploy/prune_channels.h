#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/compression/deploy/channel_groups.h"
#include "fl/compression/deploy/importance.h"
#include "fl/compression/deploy/size_budget.h"
#include "fl/compression/deploy/working_model.h"

namespace fl::deploy {

// Which layers lose channels.
enum class ChannelGranularity : std::uint8_t {
  kChannels,  // Of convolutions.
  kNeurons,   // Of dense layers.
  kBoth,
};

struct PruneChannelsConfig {
  ImportanceConfig importance;
  bool global = false;  // One ranking over all layers; else the same share of each.
  double keep = 0.5;    // Share of the channels that stays, in (0, 1]; not used with a budget.
  SizeBudget budget;
  double layer_cap = 0.98;     // Largest share of a layer's channels that goes, in [0, 1).
  std::uint32_t multiple = 8;  // What stays is a multiple of so many channels, in [1, 64].
  std::uint32_t steps = 1;     // In so many steps of equal MACs, with training in between, >= 1.
  ChannelGranularity granularity = ChannelGranularity::kBoth;
  std::vector<std::string> layers;  // Only these, with all that must go along; none: all.
  bool absorb = true;               // Constants go into the next bias; else they are dropped.
};

// What came of it.
struct PruneOutcome {
  ModelSize before;
  ModelSize after;
  std::string unreached;  // What of a budget was not reached, and what was; empty: all was.
  // Layers whose border takes an absorbed constant for what was padding; see remove_channels.h.
  std::vector<std::string> padded;
};

// Trains the model after a step (from 1). May be empty.
using Retrain = std::function<Result<>(std::uint32_t step, WorkingModel& model)>;

// Removes channels of convolutions and neurons of dense layers, physically: the graph gets
// smaller, not sparser. Each step scores the units anew, removes an equal share of the MACs and
// measures batch norms anew (see update_norms.h). Masks are cut with their tensors. Errors:
// kNotFound (an unknown layer, named with those that exist), kInvalidArgument (a layer that must
// stay whole, with the reason; nothing that can be pruned), those of ScoreUnits and of `retrain`.
// Same inputs, same bits.
Result<PruneOutcome> PruneChannels(const PruneChannelsConfig& config,
                                   const ImportanceInputs& inputs, const Retrain& retrain,
                                   WorkingModel& model);

}  // namespace fl::deploy
