#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "fl/common/nn/graph.h"
#include "fl/compression/deploy/channel_groups.h"

namespace fl::deploy {

// How much is to be removed.
struct ChannelTarget {
  bool global = false;      // Units of all groups in one ranking; else the same share of each.
  double keep = 0.5;        // Share of the units that stays, in (0, 1]; without a budget.
  bool has_budget = false;  // As little is removed as `at_most` asks for.
  ModelSize at_most{std::numeric_limits<double>::infinity(),
                    std::numeric_limits<double>::infinity()};
  double layer_cap = 0.98;         // Largest share of a group that goes, in [0, 1).
  std::uint32_t multiple = 8;      // What stays in a layer is a multiple of so many channels.
  std::vector<std::size_t> least;  // By group: so many units stay in any case; empty: 1.
};

struct ChannelChoice {
  std::vector<std::uint8_t> removed;  // A flag for each unit.
  ModelSize before;
  ModelSize after;
};

// How many of a group's units the cap leaves at least; 1 or more.
std::size_t UnitsLeft(std::size_t total, double layer_cap);

// Chooses the units to remove: of each group with `eligible` those of least score, the lower index
// on ties, in steps after which a multiple of channels stays (the nearest one to `keep`); a group
// smaller than that stays whole. A ranking of all groups takes the steps by their mean score.
// A budget out of reach is met as far as it goes. Thread safety: pure function.
ChannelChoice ChooseChannels(const nn::Graph& graph, const ChannelGroups& groups,
                             std::span<const std::uint8_t> eligible, std::span<const double> scores,
                             const ChannelTarget& target);

}  // namespace fl::deploy
