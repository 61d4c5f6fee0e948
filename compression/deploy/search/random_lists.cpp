#include "fl/compression/deploy/search/random_lists.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <utility>

namespace fl::deploy {
namespace {

// Draws until one is new and within the bounds; none when that does not happen. `settings` get the
// list's bits and must outlive it.
Result<std::optional<Trainee>> Draw(const SearchSpace& space, const RandomRule& rule,
                                    const PassInputs& inputs, RngStream& rng,
                                    std::vector<Proposal>& seen, ListSettings& settings) {
  constexpr int kTries = 200;
  for (int i = 0; i < kTries; ++i) {
    const Proposal proposal = DrawProposal(space, rng);
    if (std::ranges::find(seen, proposal) != seen.end()) continue;
    seen.push_back(proposal);
    settings.bits = rule.bits[rng.UniformInteger(rule.bits.size())];
    auto trainee = Trainee::Create(space, proposal, settings, inputs);
    if (!trainee && trainee.error().code == ErrorCode::kLimitExceeded) continue;
    if (!trainee) return trainee.error();
    const Objectives size{0, trainee->bytes(), trainee->microseconds()};
    if (WhyOutside(size, rule.budget).empty()) return std::optional(*std::move(trainee));
  }
  return std::optional<Trainee>();
}

// False where it was stopped. What fails in every attempt stays as far as it came.
Result<bool> TrainAll(std::span<const std::uint32_t> steps, Trainee& trainee) {
  for (const std::uint32_t count : steps) {
    const auto trained = trainee.Train(count);
    if (!trained && trained.error().code == ErrorCode::kUnavailable) return false;
    if (!trained && trained.error().code != ErrorCode::kLimitExceeded) return trained.error();
  }
  return true;
}

void Say(const PassInputs& inputs, std::size_t number, const RandomRule& rule, const Trial& trial) {
  if (inputs.instruments == nullptr || inputs.instruments->progress == nullptr) return;
  std::array<char, 160> text{};
  std::snprintf(text.data(), text.size(),
                "random list %zu of %u: %.2f %%, %llu bytes, %.1f us: ", number, rule.count,
                100 * trial.result.accuracy, static_cast<unsigned long long>(trial.result.bytes),
                trial.result.microseconds);
  inputs.instruments->progress(text.data() + trial.name);
}

}  // namespace

Result<std::vector<Trial>> TrainRandomLists(const SearchSpace& space, const RandomRule& rule,
                                            const PassInputs& inputs) {
  RngStream rng = inputs.rng.Child("random lists");
  std::vector<Proposal> seen;
  std::vector<Trial> trials;
  while (trials.size() < rule.count && !inputs.stop.load(std::memory_order_relaxed)) {
    ListSettings settings = rule.settings;
    FL_TRY(std::optional<Trainee> trainee, Draw(space, rule, inputs, rng, seen, settings));
    if (!trainee) break;
    FL_TRY(const bool trained, TrainAll(rule.steps, *trainee));
    if (!trained) break;
    // A student of which no training succeeded is no model.
    if (trainee->steps().empty() && trainee->proposal().student) continue;
    FL_TRY(Trial trial, MeasureTrial(*trainee, settings.bits, rule.teacher, false));
    trial.kind = "random";
    Say(inputs, trials.size() + 1, rule, trial);
    trials.push_back(std::move(trial));
  }
  return trials;
}

}  // namespace fl::deploy
