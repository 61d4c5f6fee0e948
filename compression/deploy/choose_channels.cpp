#include "fl/compression/deploy/choose_channels.h"

#include <algorithm>
#include <cmath>

#include "fl/common/base/check.h"
#include "fl/compression/deploy/size_budget.h"

namespace fl::deploy {
namespace {

// Units of one group that go together, the least first.
struct Cut {
  std::size_t group = 0;
  std::vector<std::uint32_t> units;
  double score = 0;  // Mean of its units.
};

// The cuts that a group allows, in the order in which they are made.
std::vector<Cut> CutsOf(const ChannelGroup& group, std::size_t index,
                        std::span<const double> scores, const ChannelTarget& target) {
  std::vector<std::uint32_t> order = group.units;
  std::ranges::stable_sort(order,
                           [&](std::uint32_t a, std::uint32_t b) { return scores[a] < scores[b]; });
  std::size_t least = UnitsLeft(order.size(), target.layer_cap);
  if (!target.least.empty()) least = std::max(least, target.least[index]);
  const std::size_t step = group.StepFor(target.multiple);
  std::vector<Cut> cuts;
  std::size_t first = 0;
  while (true) {
    const std::size_t left = order.size() - first;
    const std::size_t count = left % step == 0 ? step : left % step;
    if (left < count + least) return cuts;
    Cut cut{index, {}, 0};
    for (std::size_t i = first; i < first + count; ++i) {
      cut.units.push_back(order[i]);
      cut.score += scores[order[i]] / static_cast<double>(count);
    }
    cuts.push_back(std::move(cut));
    first += count;
  }
}

// Makes cuts, and says whether what stays is small enough.
class Plan {
 public:
  Plan(const nn::Graph& graph, const ChannelGroups& groups, std::vector<std::uint8_t>& removed)
      : graph_(graph), groups_(groups), removed_(removed) {}

  void Make(const Cut& cut) {
    for (const std::uint32_t unit : cut.units) removed_[unit] = 1;
  }
  bool Fits(const ModelSize& at_most) const {
    return deploy::Fits(SizeWithout(graph_, groups_, removed_), at_most);
  }

 private:
  const nn::Graph& graph_;
  const ChannelGroups& groups_;
  std::vector<std::uint8_t>& removed_;
};

// How many of the cuts, made one after the other, leave the number of units nearest to `wanted`;
// the fewer on a tie.
std::size_t NearestCount(std::span<const Cut> cuts, double total, double wanted) {
  std::size_t best = 0;
  double left = total;
  double distance = std::abs(total - wanted);
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    left -= static_cast<double>(cuts[i].units.size());
    if (std::abs(left - wanted) >= distance) continue;
    distance = std::abs(left - wanted);
    best = i + 1;
  }
  return best;
}

double UnitsOf(const ChannelGroups& groups, std::span<const std::uint8_t> eligible) {
  double total = 0;
  for (std::size_t i = 0; i < groups.groups.size(); ++i) {
    if (eligible[i] != 0) total += static_cast<double>(groups.groups[i].units.size());
  }
  return total;
}

void ChooseGlobal(std::vector<std::vector<Cut>> by_group, double total, const ChannelTarget& target,
                  Plan& plan) {
  std::vector<Cut> cuts;
  for (std::vector<Cut>& group : by_group) {
    for (Cut& cut : group) cuts.push_back(std::move(cut));
  }
  // Within a group scores ascend, so that its order stays.
  std::ranges::stable_sort(cuts, [](const Cut& a, const Cut& b) { return a.score < b.score; });
  const std::size_t wanted =
      target.has_budget ? cuts.size() : NearestCount(cuts, total, target.keep * total);
  for (std::size_t i = 0; i < wanted; ++i) {
    if (target.has_budget && plan.Fits(target.at_most)) return;
    plan.Make(cuts[i]);
  }
}

void ChooseByGroup(const std::vector<std::vector<Cut>>& by_group, const ChannelGroups& groups,
                   const ChannelTarget& target, Plan& plan) {
  const auto make_all = [&](double keep) {
    for (std::size_t i = 0; i < by_group.size(); ++i) {
      const auto total = static_cast<double>(groups.groups[i].units.size());
      const std::size_t count = NearestCount(by_group[i], total, keep * total);
      for (std::size_t k = 0; k < count; ++k) plan.Make(by_group[i][k]);
    }
  };
  if (!target.has_budget) return make_all(target.keep);
  constexpr int kShares = 256;
  for (int share = kShares; share >= 0; --share) {
    if (plan.Fits(target.at_most)) return;
    make_all(static_cast<double>(share) / kShares);
  }
}

}  // namespace

std::size_t UnitsLeft(std::size_t total, double layer_cap) {
  // A share such as 0.98 is not exact: what it leaves is rounded up but for the last bits.
  const double left = std::ceil((1 - layer_cap) * static_cast<double>(total) - 1e-9);
  return std::max<std::size_t>(1, static_cast<std::size_t>(left));
}

ChannelChoice ChooseChannels(const nn::Graph& graph, const ChannelGroups& groups,
                             std::span<const std::uint8_t> eligible, std::span<const double> scores,
                             const ChannelTarget& target) {
  FL_CHECK(eligible.size() == groups.groups.size() && scores.size() == groups.unit_count,
           "a flag for each group and a score for each unit");
  ChannelChoice choice;
  choice.removed.assign(groups.unit_count, 0);
  choice.before = SizeOf(graph);
  std::vector<std::vector<Cut>> by_group(groups.groups.size());
  for (std::size_t i = 0; i < by_group.size(); ++i) {
    if (eligible[i] != 0) by_group[i] = CutsOf(groups.groups[i], i, scores, target);
  }
  Plan plan(graph, groups, choice.removed);
  if (target.global) {
    ChooseGlobal(std::move(by_group), UnitsOf(groups, eligible), target, plan);
  } else {
    ChooseByGroup(by_group, groups, target, plan);
  }
  choice.after = SizeWithout(graph, groups, choice.removed);
  return choice;
}

}  // namespace fl::deploy
