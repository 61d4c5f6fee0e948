#include "fl/compression/deploy/search/search_space.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fl/compression/deploy/search/student_networks.h"

namespace fl::deploy {
namespace {

constexpr double kShares[] = {0.75, 0.5, 0.375, 0.25, 0.1875, 0.125, 0.0625};
constexpr double kEnergies[] = {0.95, 0.9, 0.8, 0.7};

// All units, then fewer, each level in whole steps of the multiple.
std::vector<std::size_t> LevelsOf(const ChannelGroup& group, std::uint32_t multiple) {
  const std::size_t total = group.units.size();
  const std::size_t step = group.StepFor(multiple);
  std::vector<std::size_t> kept = {total};
  for (const double share : kShares) {
    const auto steps = static_cast<std::size_t>(
        std::llround(share * static_cast<double>(total) / static_cast<double>(step)));
    const std::size_t left = std::max<std::size_t>(1, steps) * step;
    if (left < kept.back()) kept.push_back(left);
  }
  return kept;
}

// Layers whose weights are at least a tenth of all, the largest first; a factor of a small one
// saves nothing.
std::vector<std::string> FactorableLayers(const nn::Graph& model) {
  std::vector<std::pair<double, std::string>> layers;
  const double total = static_cast<double>(model.parameters.total());
  for (const nn::Node& node : model.nodes) {
    const bool product =
        node.kind == nn::OpKind::kDense || (node.kind == nn::OpKind::kConv2d && node.groups == 1);
    if (!product) continue;
    const auto weights =
        static_cast<double>(model.parameters[node.parameters.front()].shape.count());
    if (weights >= 0.1 * total) layers.emplace_back(-weights, node.name);
  }
  std::ranges::sort(layers);
  std::vector<std::string> names;
  names.reserve(layers.size());
  for (const auto& [weights, name] : layers) names.push_back(name);
  return names;
}

using Value = PassConfig::Value;

void Add(DeploymentConfig& list, const std::string& pass,
         const std::vector<std::pair<std::string, Value>>& fields) {
  PassConfig config;
  config.name.text = pass;
  for (const auto& [key, value] : fields) config.fields.push_back({key, value, {}});
  list.passes.push_back(std::move(config));
}

Value Count(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}

void AddRemovals(const SearchSpace& space, const Proposal& proposal, DeploymentConfig& list) {
  const Value multiple = Count(space.multiple);
  if (proposal.global_share < 1) {
    Add(list, "prune_channels",
        {{"scope", std::string("global")},
         {"parameters_share", proposal.global_share},
         {"multiple", multiple}});
  }
  for (std::size_t i = 0; i < proposal.levels.size() && proposal.global_share >= 1; ++i) {
    if (proposal.levels[i] == 0) continue;
    Add(list, "prune_channels",
        {{"layers", std::vector<std::string>{space.layers[i].name}},
         {"keep", space.layers[i].Share(proposal.levels[i])},
         {"multiple", multiple}});
  }
  if (proposal.factored.empty()) return;
  Add(list, "low_rank",
      {{"layers", std::vector<std::string>{proposal.factored}},
       {"rank", "energy:" + std::to_string(proposal.energy)}});
}

void AddRounding(std::uint8_t bits, DeploymentConfig& list) {
  constexpr std::uint64_t kGroup = 32;
  std::vector<std::pair<std::string, Value>> coding;
  if (bits < kBitsMost) coding.emplace_back("bits", Count(bits));
  if (bits <= kBitsInGroups) {
    coding.emplace_back("granularity", std::string("group"));
    coding.emplace_back("group", Count(kGroup));
  }
  Add(list, "ptq_static", coding);
}

}  // namespace

Result<SearchSpace> MakeSearchSpace(const nn::Graph& model, std::uint32_t multiple) {
  SearchSpace space;
  space.multiple = multiple;
  FL_TRY(space.groups, FindChannelGroups(model));
  for (std::size_t i = 0; i < space.groups.groups.size(); ++i) {
    const ChannelGroup& group = space.groups.groups[i];
    if (!group.why_whole.empty() || group.owners.empty()) continue;
    PrunableLayer layer{model.nodes[group.owners.front()].name, i, LevelsOf(group, multiple)};
    if (layer.kept.size() > 1) space.layers.push_back(std::move(layer));
  }
  space.factorable = FactorableLayers(model);
  space.students = StudentNetworks(model, multiple);
  return space;
}

std::string NameOf(const SearchSpace& space, const Proposal& proposal) {
  std::string name;
  const auto add = [&](const std::string& part) { name += (name.empty() ? "" : ", ") + part; };
  if (proposal.student) {
    for (const std::string& line : space.students[*proposal.student]) add(line);
    return name;
  }
  if (proposal.global_share < 1)
    add("global " + std::to_string(std::lround(100 * proposal.global_share)) + " %");
  for (std::size_t i = 0; i < proposal.levels.size() && proposal.global_share >= 1; ++i) {
    const PrunableLayer& layer = space.layers[i];
    if (proposal.levels[i] > 0)
      add(layer.name + " " + std::to_string(layer.kept[proposal.levels[i]]));
  }
  if (!proposal.factored.empty()) {
    add(proposal.factored + " by rank, " + std::to_string(std::lround(100 * proposal.energy)) +
        " % energy");
  }
  return name.empty() ? "whole" : name;
}

std::string KindOf(const Proposal& proposal) {
  if (proposal.student) return "student";
  if (!proposal.factored.empty()) return "low rank";
  return proposal.global_share < 1 ? "global" : "channels";
}

DeploymentConfig ListOf(const SearchSpace& space, const Proposal& proposal,
                        std::span<const std::uint32_t> steps, const ListSettings& settings) {
  DeploymentConfig list;
  list.drop_points_max = settings.drop_points_max;
  list.bytes_max = settings.bytes_max;
  if (!proposal.student) AddRemovals(space, proposal, list);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    std::vector<std::pair<std::string, Value>> training = {
        {"steps", Count(steps[i])},
        {"learning_rate", 0.06},
        {"weight_decay", 0.0005},
        {"warmup", Count(std::max<std::uint32_t>(1, steps[i] / 10))}};
    if (proposal.student && i == 0) {
      training.insert(training.begin(), {"layers", space.students[*proposal.student]});
      Add(list, "distil", training);
    } else {
      training.insert(training.begin(), {"teacher", true});
      Add(list, "fine_tune", training);
    }
  }
  if (settings.integers) AddRounding(settings.bits, list);
  Add(list, "verify", {});
  return list;
}

ModelSize SizeBy(const SearchSpace& space, const nn::Graph& model,
                 std::span<const std::size_t> levels) {
  std::vector<std::uint8_t> removed(space.groups.unit_count, 0);
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const std::vector<std::uint32_t>& units = space.groups.groups[space.layers[i].group].units;
    // Which ones go does not change the size.
    for (std::size_t k = space.layers[i].kept[levels[i]]; k < units.size(); ++k)
      removed[units[k]] = 1;
  }
  return SizeWithout(model, space.groups, removed);
}

Proposal DrawProposal(const SearchSpace& space, RngStream& rng) {
  Proposal proposal;
  const std::uint64_t kind = rng.UniformInteger(4);
  if (kind == 0 && !space.students.empty()) {
    proposal.student = rng.UniformInteger(space.students.size());
    return proposal;
  }
  for (const PrunableLayer& layer : space.layers)
    proposal.levels.push_back(rng.UniformInteger(layer.kept.size()));
  if (kind == 1 && !space.factorable.empty()) {
    proposal.factored = space.factorable[rng.UniformInteger(space.factorable.size())];
    proposal.energy = kEnergies[rng.UniformInteger(std::size(kEnergies))];
  }
  return proposal;
}

}  // namespace fl::deploy
