#include "fl/compression/deploy/prune_channels.h"

#include <algorithm>
#include <limits>
#include <map>
#include <span>

#include "fl/compression/deploy/choose_channels.h"
#include "fl/compression/deploy/remove_channels.h"
#include "fl/compression/deploy/rewrite_graph.h"
#include "fl/compression/deploy/update_norms.h"

namespace fl::deploy {
namespace {

// How many units of a group stay at least, by the group's owners.
using LeastUnits = std::map<std::vector<std::size_t>, std::size_t>;

bool Has(const std::vector<std::size_t>& owners, std::size_t node) {
  return std::ranges::find(owners, node) != owners.end();
}

// Whether the group is of the granularity's layers: all its owners are.
bool Suits(const nn::Graph& graph, const ChannelGroup& group, ChannelGranularity granularity) {
  if (granularity == ChannelGranularity::kBoth) return true;
  const nn::OpKind kind =
      granularity == ChannelGranularity::kChannels ? nn::OpKind::kConv2d : nn::OpKind::kDense;
  return std::ranges::all_of(group.owners,
                             [&](std::size_t owner) { return graph.nodes[owner].kind == kind; });
}

Result<std::vector<std::uint8_t>> EligibleGroups(const nn::Graph& graph,
                                                 const ChannelGroups& groups,
                                                 const PruneChannelsConfig& config) {
  std::vector<std::size_t> wanted;
  for (const std::string& name : config.layers) {
    FL_TRY(const std::size_t node, FindNode(graph, name));
    std::string why = "it has no channels of its own";
    bool prunable = false;
    for (const ChannelGroup& group : groups.groups) {
      if (!Has(group.owners, node)) continue;
      const bool suits = Suits(graph, group, config.granularity);
      prunable = prunable || (group.why_whole.empty() && suits);
      why = suits ? group.why_whole : "granularity leaves it out";
    }
    if (!prunable) {
      return Error{
          ErrorCode::kInvalidArgument,
          std::string("expected layers that can lose channels, found ").append(name) + ": " + why};
    }
    wanted.push_back(node);
  }
  std::vector<std::uint8_t> eligible;
  for (const ChannelGroup& group : groups.groups) {
    const bool named = wanted.empty() || std::ranges::any_of(wanted, [&](std::size_t node) {
                         return Has(group.owners, node);
                       });
    eligible.push_back(named && group.why_whole.empty() && Suits(graph, group, config.granularity));
  }
  if (std::ranges::find(eligible, 1) == eligible.end()) {
    return Error{ErrorCode::kInvalidArgument,
                 "expected a layer that can lose channels, found none"};
  }
  return eligible;
}

ChannelTarget TargetOf(const PruneChannelsConfig& config, const ModelSize& size) {
  ChannelTarget target;
  target.global = config.global;
  target.keep = config.keep;
  target.has_budget = config.budget.any();
  target.at_most = config.budget.AtMost(size);
  target.layer_cap = config.layer_cap;
  target.multiple = config.multiple;
  return target;
}

// Own scores go with the channels that they are of.
void CutScores(const nn::Graph& graph, const ChannelGroups& groups,
               std::span<const std::uint8_t> removed, OwnScores& scores) {
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const auto own = scores.find(graph.nodes[i].name);
    if (own == scores.end() || own->second.size() != groups.units[i].size()) continue;
    own->second = SelectAlongAxis<double>(own->second, Shape{own->second.size()}, 0,
                                          KeptIndices(groups, i, removed));
  }
}

// What the steps share.
struct Course {
  ModelSize before;
  ModelSize after;         // In the end, as the first ranking has it.
  LeastUnits least_units;  // The same by group; in a ranking of all groups what layer_cap leaves.
};

ChannelTarget StepTarget(const PruneChannelsConfig& config, const Course& course,
                         const ChannelGroups& groups, std::uint32_t step) {
  ChannelTarget target = TargetOf(config, course.before);
  target.has_budget = true;
  const double done = static_cast<double>(step) / config.steps;
  target.at_most.macs = course.before.macs - done * (course.before.macs - course.after.macs);
  target.at_most.parameters = std::numeric_limits<double>::infinity();
  if (step == config.steps) {
    target.at_most = config.budget.any() ? config.budget.AtMost(course.before) : course.after;
  }
  for (const ChannelGroup& group : groups.groups) {
    const auto units = course.least_units.find(group.owners);
    target.least.push_back(units == course.least_units.end() ? 1 : units->second);
  }
  return target;
}

LeastUnits UnitsThatStay(const PruneChannelsConfig& config, const ChannelGroups& groups,
                         std::span<const std::uint8_t> removed) {
  LeastUnits units;
  for (const ChannelGroup& group : groups.groups) {
    if (!group.why_whole.empty()) continue;
    const auto stay =
        std::ranges::count_if(group.units, [&](std::uint32_t unit) { return removed[unit] == 0; });
    units[group.owners] = config.global ? UnitsLeft(group.units.size(), config.layer_cap)
                                        : static_cast<std::size_t>(stay);
  }
  return units;
}

Result<> Remove(const ChannelGroups& groups, std::span<const std::uint8_t> removed, bool absorb,
                WorkingModel& model, PruneOutcome& outcome) {
  FL_TRY(SmallerModel smaller,
         RemoveChannels(model.graph, model.parameters, groups, removed, absorb));
  model.masks = CutMasks(model.graph, groups, removed, model.masks);
  model.graph = std::move(smaller.graph);
  model.parameters = std::move(smaller.parameters);
  for (std::string& name : smaller.padded) {
    if (std::ranges::find(outcome.padded, name) == outcome.padded.end())
      outcome.padded.push_back(std::move(name));
  }
  return {};
}

}  // namespace

Result<PruneOutcome> PruneChannels(const PruneChannelsConfig& config,
                                   const ImportanceInputs& inputs, const Retrain& retrain,
                                   WorkingModel& model) {
  PruneOutcome outcome;
  Course course{SizeOf(model.graph), {}, {}};
  ImportanceConfig importance = config.importance;
  for (std::uint32_t step = 1; step <= config.steps; ++step) {
    FL_TRY(const ChannelGroups groups, FindChannelGroups(model.graph));
    FL_TRY(const std::vector<std::uint8_t> eligible, EligibleGroups(model.graph, groups, config));
    const ImportanceInputs step_inputs{inputs.samples, inputs.rng.Child("step", step)};
    FL_TRY(const std::vector<double> scores,
           ScoreUnits(model.graph, model.parameters, groups, eligible, importance, step_inputs));
    ChannelChoice choice;
    if (step == 1) {
      choice =
          ChooseChannels(model.graph, groups, eligible, scores, TargetOf(config, course.before));
      course.after = choice.after;
      course.least_units = UnitsThatStay(config, groups, choice.removed);
    }
    if (config.steps > 1) {
      choice = ChooseChannels(model.graph, groups, eligible, scores,
                              StepTarget(config, course, groups, step));
    }
    CutScores(model.graph, groups, choice.removed, importance.scores);
    FL_TRY_OK(Remove(groups, choice.removed, config.absorb, model, outcome));
    FL_TRY_OK(UpdateNorms(model.graph, step_inputs, model.parameters));
    if (retrain) FL_TRY_OK(retrain(step, model));
  }
  outcome.before = course.before;
  outcome.after = SizeOf(model.graph);
  outcome.unreached = WhyUnreached(outcome.after, config.budget.AtMost(outcome.before),
                                   "the least that layer_cap, multiple and the layers' groups "
                                   "allow");
  return outcome;
}

}  // namespace fl::deploy
