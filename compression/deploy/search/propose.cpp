#include "fl/compression/deploy/search/propose.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>

namespace fl::deploy {
namespace {

using Levels = std::vector<std::size_t>;

double CostOf(const ModelSize& size, double weight) {
  return weight * std::log(std::max(1.0, size.parameters)) +
         (1 - weight) * std::log(std::max(1.0, size.macs));
}

void AddUnique(Proposal proposal, std::vector<Proposal>& proposals) {
  if (std::ranges::find(proposals, proposal) == proposals.end())
    proposals.push_back(std::move(proposal));
}

// `count` positions from 0 to size - 1 at equal distances, both ends among them.
std::vector<std::size_t> Spread(std::size_t size, std::size_t count) {
  std::vector<std::size_t> positions;
  count = std::min(size, count);
  for (std::size_t i = 0; i < count; ++i)
    positions.push_back(count == 1 ? size / 2 : i * (size - 1) / (count - 1));
  return positions;
}

std::vector<Proposal> PlannedProposals(const SearchSpace& space, const nn::Graph& model,
                                       std::span<const SensitivityCurve> curves) {
  std::vector<Proposal> proposals;
  for (const double weight : {1.0, 0.3}) {
    const std::vector<Levels> path = GreedyPath(space, model, curves, weight);
    for (const Levels& levels : path) AddUnique({.levels = levels}, proposals);
  }
  constexpr std::size_t kFactored = 6;
  if (!space.factorable.empty()) {
    const std::vector<Proposal> pruned = proposals;
    for (const std::size_t at : Spread(pruned.size(), kFactored)) {
      for (const double energy : {0.9, 0.75}) {
        AddUnique(
            {.levels = pruned[at].levels, .factored = space.factorable.front(), .energy = energy},
            proposals);
      }
    }
  }
  for (const double share : {0.5, 0.25, 0.125, 0.0625, 0.03}) {
    if (!space.layers.empty()) AddUnique({.global_share = share}, proposals);
  }
  for (std::size_t i = 0; i < space.students.size(); ++i) AddUnique({.student = i}, proposals);
  return proposals;
}

}  // namespace

std::string WhyOutside(const Objectives& size, const SearchBudget& budget) {
  char text[120];
  std::string why;
  if (budget.bytes_max > 0 && size.bytes > budget.bytes_max) {
    why = std::to_string(size.bytes) + " bytes, at most " + std::to_string(budget.bytes_max) +
          " are allowed";
  }
  if (budget.latency_us_max > 0 && size.microseconds > budget.latency_us_max) {
    std::snprintf(text, sizeof(text), "%.1f us, at most %.1f are allowed", size.microseconds,
                  budget.latency_us_max);
    why += (why.empty() ? "" : "; ") + std::string(text);
  }
  return why;
}

std::vector<Levels> GreedyPath(const SearchSpace& space, const nn::Graph& model,
                               std::span<const SensitivityCurve> curves, double weight) {
  std::vector<Levels> path = {Levels(space.layers.size(), 0)};
  while (true) {
    const Levels& now = path.back();
    const double cost = CostOf(SizeBy(space, model, now), weight);
    double best = 0;
    std::optional<std::size_t> chosen;
    for (std::size_t i = 0; i < now.size(); ++i) {
      if (now[i] + 1 == space.layers[i].kept.size()) continue;
      Levels next = now;
      ++next[i];
      const double saved = cost - CostOf(SizeBy(space, model, next), weight);
      const double lost = curves[i].divergence[next[i]] - curves[i].divergence[now[i]];
      constexpr double kNoise = 1e-3;  // Nats; below this a loss is not known.
      const double worth = saved / (lost + kNoise);
      if (chosen && worth <= best) continue;
      best = worth;
      chosen = i;
    }
    if (!chosen) return path;
    Levels next = now;
    ++next[*chosen];
    path.push_back(std::move(next));
  }
}

Result<std::vector<SizedProposal>> ProposeLists(const SearchSpace& space,
                                                std::span<const SensitivityCurve> curves,
                                                const ListSettings& settings,
                                                const PassInputs& inputs) {
  std::vector<SizedProposal> sized;
  std::vector<Proposal> proposals = PlannedProposals(space, inputs.teacher.graph, curves);
  const std::size_t planned = proposals.size();
  // A short training does not tell what a long one makes good, so that others get their chance.
  constexpr int kDrawn = 64;
  RngStream rng = inputs.rng.Child("proposals");
  for (int i = 0; i < kDrawn; ++i) AddUnique(DrawProposal(space, rng), proposals);
  for (std::size_t i = 0; i < proposals.size(); ++i) {
    Proposal& proposal = proposals[i];
    const auto trainee = Trainee::Create(space, proposal, settings, inputs);
    // A share that a global ranking cannot reach, say.
    if (!trainee && trainee.error().code == ErrorCode::kLimitExceeded) continue;
    if (!trainee) return trainee.error();
    sized.push_back({std::move(proposal),
                     {0, trainee->bytes(), trainee->microseconds()},
                     trainee->multiply_accumulates(),
                     i >= planned});
  }
  return sized;
}

std::vector<SizedProposal> PickProposals(std::span<const SizedProposal> proposals,
                                         const SearchBudget& budget, std::size_t count,
                                         const DrawnSizes* drawn) {
  struct Quota {
    const char* kind;
    double share;
  };
  constexpr Quota kQuotas[] = {
      {"channels", 0.45}, {"low rank", 0.15}, {"global", 0.05}, {"student", 0.35}};
  std::vector<std::size_t> picked;
  for (const Quota& quota : kQuotas) {
    std::vector<std::size_t> of_kind;
    for (std::size_t i = 0; i < proposals.size(); ++i) {
      if (KindOf(proposals[i].proposal) == quota.kind &&
          WhyOutside(proposals[i].size, budget).empty())
        of_kind.push_back(i);
    }
    if (drawn != nullptr) {
      std::ranges::stable_sort(of_kind, std::greater<>{}, [&](std::size_t i) {
        return drawn->ShareBehind(proposals[i].size);
      });
      of_kind.resize((of_kind.size() + 1) / 2);
    }
    std::ranges::stable_sort(of_kind, [&](std::size_t a, std::size_t b) {
      return proposals[a].size.bytes < proposals[b].size.bytes;
    });
    const auto places = static_cast<std::size_t>(
        std::max(1.0, std::round(quota.share * static_cast<double>(count))));
    for (const std::size_t at : Spread(of_kind.size(), places)) picked.push_back(of_kind[at]);
  }
  std::ranges::sort(picked);
  std::vector<SizedProposal> chosen;
  for (const std::size_t i : picked) {
    if (chosen.size() < count) chosen.push_back(proposals[i]);
  }
  return chosen;
}

}  // namespace fl::deploy
