#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"
#include "fl/compression/deploy/channel_groups.h"

namespace fl::deploy {

// A removed channel without its weights still says something: the constant k that its bias, and
// the norms and activations behind it, make of nothing. Where a batch norm alone reads the layer,
// its running mean stands for the bias, so that the norm says its beta. Who reads the channel gets
// the constant from its own bias, b_next += W_next[:, c] * k (bias absorption): the smaller model
// says what the masked one says, to rounding. Where a convolution pads its input with zeros, which
// are not k, its outputs at the border differ; the outputs of such models agree only where k is 0.

// Zeroes the removed units' weights in all layers that own or pass them on, so that every removed
// channel is a constant: of its bias, of the running mean behind it, which becomes its bias, or, of
// a depthwise layer, of what its weights made of the constant before it. `removed`:
// groups.unit_count flags.
void MaskChannels(const nn::Graph& graph, const ChannelGroups& groups,
                  std::span<const std::uint8_t> removed, std::span<float> parameters);

struct SmallerModel {
  nn::Graph graph;
  std::vector<float> parameters;
  std::vector<std::string> padded;  // Layers whose border is not exactly the masked model's.
};

// The model without the removed units: channels, groups and tensors are cut, the constants
// absorbed, or, without `absorb`, dropped. kInvalidArgument when a unit that must stay whole is
// among the removed, or all units of a group are. Thread safety: pure function.
Result<SmallerModel> RemoveChannels(const nn::Graph& graph, std::span<const float> parameters,
                                    const ChannelGroups& groups,
                                    std::span<const std::uint8_t> removed, bool absorb = true);

// Tensors' masks (1: lives), cut as RemoveChannels cuts the tensors.
std::map<std::string, std::vector<std::uint8_t>> CutMasks(
    const nn::Graph& graph, const ChannelGroups& groups, std::span<const std::uint8_t> removed,
    const std::map<std::string, std::vector<std::uint8_t>>& masks);

}  // namespace fl::deploy
