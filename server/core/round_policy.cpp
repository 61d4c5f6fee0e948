#include "fl/server/core/round_policy.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fl/common/crypto/sha256.h"
#include "fl/common/random/rng_stream.h"

namespace fl::server {
namespace {

// `count` of the names, in their order.
std::vector<std::string> Sample(RngStream rng, const std::vector<std::string>& names,
                                std::uint64_t count) {
  std::vector<std::size_t> order(names.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  rng.Shuffle(std::span(order));
  order.resize(std::min<std::size_t>(order.size(), count));
  std::ranges::sort(order);
  std::vector<std::string> sample;
  sample.reserve(order.size());
  for (const std::size_t index : order) sample.push_back(names[index]);
  return sample;
}

}  // namespace

std::uint64_t CohortSize(const RoundsConfig& rounds, std::uint64_t present) {
  const double wanted = std::ceil(static_cast<double>(rounds.goal) * rounds.over_select);
  return std::min(present, static_cast<std::uint64_t>(wanted));
}

std::vector<std::string> SampleCohort(std::uint64_t seed, std::uint64_t round,
                                      const std::vector<std::string>& names, std::uint64_t count) {
  return Sample(RngStream(seed).Child("cohort", round), names, count);
}

std::vector<std::string> SampleEvaluators(std::uint64_t seed, std::uint64_t version,
                                          const std::vector<std::string>& names,
                                          std::uint64_t count) {
  return Sample(RngStream(seed).Child("evaluators", version), names, count);
}

Duration PresenceOf(const RoundsConfig& rounds) {
  return FromSeconds(std::max({60.0, 4 * rounds.wait_s, rounds.deadline_s})) + SeenEvery(rounds);
}

Duration SeenEvery(const RoundsConfig& rounds) {
  return FromSeconds(std::min(0.5, 0.5 * rounds.wait_s));
}

std::uint64_t GoalOf(const RoundsConfig& rounds, const RoundRow& round) {
  return std::min<std::uint64_t>(rounds.goal, round.cohort);
}

Closing DecideClosing(const RoundsConfig& rounds, const RoundRow& round, TimePoint now) {
  if (round.accepted >= GoalOf(rounds, round) && round.accepted >= rounds.min_report) {
    return Closing::kFold;
  }
  if (now < round.deadline_at) return Closing::kStaysOpen;
  return round.accepted >= rounds.min_report ? Closing::kFold : Closing::kAbandon;
}

Pace PaceOf(const RoundsConfig& rounds, const std::string& client, bool near) {
  constexpr double kNearSeconds = 0.5;
  const double wait_s = near ? std::min(rounds.wait_s, kNearSeconds) : rounds.wait_s;
  const double jitter = RngStream(0).Child("pace", client).UniformDouble();
  const auto least = static_cast<std::uint32_t>(std::ceil(wait_s * 1000 * (0.75 + 0.25 * jitter)));
  return {least, least + least / 4};
}

std::uint64_t TaskIdOf(const std::string& federation, wire::TaskKind kind, std::uint64_t round,
                       const std::string& client) {
  // Names cannot hold a line feed, so that no two tasks have the same text.
  const std::string text = federation + "\n" + std::to_string(static_cast<unsigned>(kind)) + "\n" +
                           std::to_string(round) + "\n" + client;
  return std::max<std::uint64_t>(1, crypto::Sha256(AsBytes(text)).prefix());
}

}  // namespace fl::server
