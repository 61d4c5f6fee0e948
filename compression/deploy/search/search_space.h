#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/config/plan.h"
#include "fl/common/nn/graph.h"
#include "fl/common/random/rng_stream.h"
#include "fl/compression/deploy/channel_groups.h"

namespace fl::deploy {

// A layer that can lose channels, with all that must go along.
struct PrunableLayer {
  std::string name;               // Of the first owner in its channel group.
  std::size_t group = 0;          // In SearchSpace::groups.
  std::vector<std::size_t> kept;  // How many of the group's units stay: all first, then fewer.

  double Share(std::size_t level) const {
    return static_cast<double>(kept[level]) / static_cast<double>(kept.front());
  }
};

// What an automatic search may do to a model.
struct SearchSpace {
  std::uint32_t multiple = 8;  // Of channels that stay.
  ChannelGroups groups;
  std::vector<PrunableLayer> layers;
  std::vector<std::string>
      factorable;  // Dense layers and convolutions with many weights, the most first.
  // Networks to put in the model's place, as lines: its own with other widths, depths and kernels.
  std::vector<std::vector<std::string>> students;
};

// The space around a model. `multiple` >= 1: of the device's channels. FindChannelGroups' errors.
Result<SearchSpace> MakeSearchSpace(const nn::Graph& model, std::uint32_t multiple);

// A point of the space: a student, or the model with fewer channels and perhaps a layer of low
// rank.
struct Proposal {
  std::optional<std::size_t> student =
      {};  // In SearchSpace::students; the rest is of no meaning then.
  std::vector<std::size_t> levels = {};  // By SearchSpace::layers: which of PrunableLayer::kept.
  double global_share = 1;    // Below 1: one ranking of all layers keeps this share of the
                              // parameters instead.
  std::string factored = {};  // A layer that low_rank replaces; empty: none.
  double energy = 1;          // That its ranks keep.

  friend bool operator==(const Proposal&, const Proposal&) = default;
};

// For people: "conv1 16, conv2 32, dense1 64, dense1 by rank".
std::string NameOf(const SearchSpace& space, const Proposal& proposal);
// "student", "low rank", "global" or "channels".
std::string KindOf(const Proposal& proposal);

constexpr std::uint8_t kBitsMost = 8;      // Of a weight; a scale for each channel,
constexpr std::uint8_t kBitsInGroups = 4;  // up to here one for each group of 32 inputs.

// What stands in a list besides what a proposal changes.
struct ListSettings {
  double drop_points_max = 0.5;
  std::uint64_t bytes_max = 0;
  bool integers = true;           // Ends in ptq_static,
  std::uint8_t bits = kBitsMost;  // with weights of so many bits, 2 to 8.
};

// The proposal as a pass list: what it removes, a training of `steps[i]` steps against the global
// model for each i, ptq_static, verify. A student is trained by at least one.
DeploymentConfig ListOf(const SearchSpace& space, const Proposal& proposal,
                        std::span<const std::uint32_t> steps, const ListSettings& settings);

// What is left of the model by the proposal's levels alone.
ModelSize SizeBy(const SearchSpace& space, const nn::Graph& model,
                 std::span<const std::size_t> levels);

// A point drawn from the space: any level of each layer; one in four has a layer of low rank, one
// in four is a student.
Proposal DrawProposal(const SearchSpace& space, RngStream& rng);

}  // namespace fl::deploy
