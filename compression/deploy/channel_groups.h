#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"

namespace fl::deploy {

// A channel of one layer with all that hangs on it is a unit: it is kept or removed as a whole.
// (Dependency groups: Fang et al. 2023, arXiv:2301.12900.) What a unit holds follows from the
// operators (nn::PruneRule): a conv or dense layer owns its output channels; norms, activations,
// pools and depthwise convolutions pass them on with their own parameters; an add or multiply ties
// the operands' channels to each other; a concat puts them one behind the other; flatten repeats
// them, index i being channel i mod channels. The inputs and outputs of one group of a grouped
// convolution are one unit, so that it keeps whole groups.
inline constexpr std::uint32_t kNoUnit = UINT32_MAX;

// Units that the same layers own: those of one residual stage, of one conv, of one dense layer.
struct ChannelGroup {
  std::vector<std::size_t> owners;   // Nodes that own the channels, ascending.
  std::vector<std::uint32_t> units;  // Ascending.
  std::size_t width = 0;  // Channels of a unit in each owner (the greatest common divisor).
  std::string why_whole;  // Why nothing of it can be removed; empty: it can.
  // Units that can be removed one time: so many that what stays in each owner is a multiple of
  // `multiple` channels.
  std::size_t StepFor(std::size_t multiple) const;
};

struct ChannelGroups {
  // Of each node, and each index of its output's last extent: the unit that it belongs to.
  std::vector<std::vector<std::uint32_t>> units;
  std::size_t unit_count = 0;
  std::vector<ChannelGroup> groups;  // In the order of their first units.
};

// The units of a plain graph (kUnsupported with lora or fedpara). Whole stay: what the graph's
// input, its output or a head (a node that nobody reads) holds, and what a layer norm or a reshape
// reads or makes, since all their outputs need all channels. Thread safety: pure function.
Result<ChannelGroups> FindChannelGroups(const nn::Graph& graph);

// The indices of a node's last extent whose units stay. `removed`: unit_count flags.
std::vector<std::size_t> KeptIndices(const ChannelGroups& groups, std::size_t node,
                                     std::span<const std::uint8_t> removed);

// What a graph costs once the removed units are gone.
struct ModelSize {
  double macs = 0;        // Multiplications and additions of a sample in conv, dense and depthwise.
  double parameters = 0;  // Values of all tensors.
  friend bool operator==(const ModelSize&, const ModelSize&) = default;
};
ModelSize SizeWithout(const nn::Graph& graph, const ChannelGroups& groups,
                      std::span<const std::uint8_t> removed);
ModelSize SizeOf(const nn::Graph& graph);

}  // namespace fl::deploy
