#include "fl/compression/deploy/channel_groups.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "fl/common/nn/operator.h"
#include "fl/common/nn/plain_graph.h"

namespace fl::deploy {
namespace {

std::size_t ChannelsOf(const nn::Node& node) {
  return node.shape[node.shape.rank() - 1];
}

// Sets of channels that must go together, by union and find; a set's name is its lowest member.
class Sets {
 public:
  std::uint32_t Add() {
    parents_.push_back(static_cast<std::uint32_t>(parents_.size()));
    reasons_.emplace_back();
    return parents_.back();
  }
  std::uint32_t Find(std::uint32_t member) {
    while (parents_[member] != member) {
      parents_[member] = parents_[parents_[member]];
      member = parents_[member];
    }
    return member;
  }
  void Join(std::uint32_t a, std::uint32_t b) {
    a = Find(a);
    b = Find(b);
    if (a == b) return;
    if (b < a) std::swap(a, b);
    parents_[b] = a;
    if (reasons_[a].empty()) reasons_[a] = std::move(reasons_[b]);
  }
  // The first reason stays.
  void KeepWhole(std::uint32_t member, const std::string& reason) {
    std::string& kept = reasons_[Find(member)];
    if (kept.empty()) kept = reason;
  }
  const std::string& reason(std::uint32_t set) const { return reasons_[set]; }
  std::size_t size() const { return parents_.size(); }

 private:
  std::vector<std::uint32_t> parents_;
  std::vector<std::string> reasons_;
};

// Walks over the graph in the order of its nodes and says which set each channel is in.
class Walk {
 public:
  explicit Walk(const nn::Graph& graph) : graph_(graph) {}

  ChannelGroups Run() {
    std::vector<std::uint8_t> read(graph_.nodes.size(), 0);
    for (const nn::Node& node : graph_.nodes) {
      channels_.push_back(Visit(node));
      for (const std::size_t input : node.inputs) read[input] = 1;
    }
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (read[i] == 0) KeepWhole(i, graph_.nodes[i].name + " is an output");
    }
    return Collect();
  }

 private:
  using Channels = std::vector<std::uint32_t>;

  Channels Fresh(std::size_t count) {
    Channels channels(count);
    for (std::uint32_t& channel : channels) channel = sets_.Add();
    return channels;
  }

  void KeepWhole(std::size_t node, const std::string& reason) {
    for (const std::uint32_t channel : channels_[node]) sets_.KeepWhole(channel, reason);
  }

  Channels Visit(const nn::Node& node) {
    if (node.kind == nn::OpKind::kInput) {
      Channels channels = Fresh(ChannelsOf(node));
      for (const std::uint32_t channel : channels)
        sets_.KeepWhole(channel, "it holds the graph's input");
      return channels;
    }
    Channels channels = channels_[node.inputs[0]];
    // A row of the table without a rule is as one that needs all channels.
    switch (nn::RulesOf(node.kind).prune.value_or(nn::PruneRule::kMixesChannels)) {
      case nn::PruneRule::kOwnsChannels:
        return VisitOwner(node);
      case nn::PruneRule::kPassesChannels:
        return channels;
      case nn::PruneRule::kTiesChannels:
        for (const std::size_t input : std::span(node.inputs).subspan(1)) {
          for (std::size_t i = 0; i < channels.size(); ++i)
            sets_.Join(channels[i], channels_[input][i]);
        }
        return channels;
      case nn::PruneRule::kJoinsChannels:
        for (const std::size_t input : std::span(node.inputs).subspan(1))
          channels.insert(channels.end(), channels_[input].begin(), channels_[input].end());
        return channels;
      case nn::PruneRule::kSpreadsChannels: {
        Channels spread(ChannelsOf(node));
        for (std::size_t i = 0; i < spread.size(); ++i) spread[i] = channels[i % channels.size()];
        return spread;
      }
      case nn::PruneRule::kMixesChannels:
        break;
    }
    const std::string reason = node.name + " needs all channels";
    KeepWhole(node.inputs[0], reason);
    Channels mixed = Fresh(ChannelsOf(node));
    for (const std::uint32_t channel : mixed) sets_.KeepWhole(channel, reason);
    return mixed;
  }

  Channels VisitOwner(const nn::Node& node) {
    Channels outputs = Fresh(ChannelsOf(node));
    if (node.groups == 1) return outputs;
    const Channels& inputs = channels_[node.inputs[0]];
    const std::size_t inputs_each = inputs.size() / node.groups;
    const std::size_t outputs_each = outputs.size() / node.groups;
    for (std::size_t group = 0; group < node.groups; ++group) {
      const std::uint32_t first = inputs[group * inputs_each];
      for (std::size_t i = 0; i < inputs_each; ++i)
        sets_.Join(first, inputs[group * inputs_each + i]);
      for (std::size_t i = 0; i < outputs_each; ++i)
        sets_.Join(first, outputs[group * outputs_each + i]);
    }
    return outputs;
  }

  // Numbers the sets in the order in which the nodes show them, and puts those of the same owners
  // (and the same fate) into one group.
  ChannelGroups Collect() {
    ChannelGroups groups;
    std::vector<std::uint32_t> numbers(sets_.size(), kNoUnit);
    std::vector<std::string> reasons;
    std::vector<std::map<std::size_t, std::size_t>> owners;  // Of a unit: channels in each.
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      const nn::PruneRule rule =
          nn::RulesOf(graph_.nodes[i].kind).prune.value_or(nn::PruneRule::kMixesChannels);
      groups.units.emplace_back();
      for (const std::uint32_t channel : channels_[i]) {
        const std::uint32_t set = sets_.Find(channel);
        if (numbers[set] == kNoUnit) {
          numbers[set] = static_cast<std::uint32_t>(owners.size());
          owners.emplace_back();
          reasons.push_back(sets_.reason(set));
        }
        groups.units.back().push_back(numbers[set]);
        if (rule == nn::PruneRule::kOwnsChannels) ++owners[numbers[set]][i];
      }
    }
    groups.unit_count = owners.size();
    std::map<std::pair<std::vector<std::size_t>, std::string>, std::size_t> places;
    for (std::uint32_t unit = 0; unit < owners.size(); ++unit) {
      if (owners[unit].empty()) continue;
      std::vector<std::size_t> nodes;
      for (const auto& [node, count] : owners[unit]) nodes.push_back(node);
      const auto [place, added] = places.try_emplace({nodes, reasons[unit]}, groups.groups.size());
      if (added) groups.groups.push_back({nodes, {}, 0, reasons[unit]});
      ChannelGroup& group = groups.groups[place->second];
      group.units.push_back(unit);
      for (const auto& [node, count] : owners[unit]) group.width = std::gcd(group.width, count);
    }
    return groups;
  }

  const nn::Graph& graph_;
  Sets sets_;
  std::vector<Channels> channels_;  // Of each node visited, for each index of its last extent.
};

double CountOf(const ChannelGroups& groups, std::size_t node,
               std::span<const std::uint8_t> removed) {
  std::size_t count = 0;
  for (const std::uint32_t unit : groups.units[node]) count += removed[unit] == 0 ? 1 : 0;
  return static_cast<double>(count);
}

}  // namespace

std::size_t ChannelGroup::StepFor(std::size_t multiple) const {
  return multiple / std::gcd(multiple, width);
}

Result<ChannelGroups> FindChannelGroups(const nn::Graph& graph) {
  FL_TRY_OK(nn::ExpectPlain(graph, "channel groups"));
  return Walk(graph).Run();
}

std::vector<std::size_t> KeptIndices(const ChannelGroups& groups, std::size_t node,
                                     std::span<const std::uint8_t> removed) {
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < groups.units[node].size(); ++i) {
    if (removed[groups.units[node][i]] == 0) kept.push_back(i);
  }
  return kept;
}

ModelSize SizeWithout(const nn::Graph& graph, const ChannelGroups& groups,
                      std::span<const std::uint8_t> removed) {
  ModelSize size;
  for (std::size_t i = 1; i < graph.nodes.size(); ++i) {
    const nn::Node& node = graph.nodes[i];
    if (node.parameters.empty()) continue;
    const double outputs = CountOf(groups, i, removed);
    const bool norm = node.kind == nn::OpKind::kBatchNorm || node.kind == nn::OpKind::kLayerNorm;
    if (norm) {
      size.parameters += outputs * static_cast<double>(node.parameters.size());
      continue;
    }
    double rows = static_cast<double>(std::max<std::size_t>(1, node.kernel_height) *
                                      std::max<std::size_t>(1, node.kernel_width));
    if (node.kind == nn::OpKind::kConv2d && node.groups > 1) {
      // Whole groups go, so that what each output reads stays.
      const std::size_t inputs = groups.units[node.inputs[0]].size() / node.groups;
      rows *= static_cast<double>(inputs);
    } else if (node.kind != nn::OpKind::kDepthwise) {
      rows *= CountOf(groups, node.inputs[0], removed);
    }
    const std::size_t positions = node.shape.count() / ChannelsOf(node);
    size.macs += static_cast<double>(positions) * rows * outputs;
    size.parameters += rows * outputs + outputs;
  }
  return size;
}

ModelSize SizeOf(const nn::Graph& graph) {
  ChannelGroups all;
  all.unit_count = 1;
  for (const nn::Node& node : graph.nodes) all.units.emplace_back(ChannelsOf(node), 0U);
  const std::uint8_t kept = 0;
  return SizeWithout(graph, all, std::span(&kept, 1));
}

}  // namespace fl::deploy
