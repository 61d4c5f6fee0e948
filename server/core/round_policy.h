#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fl/common/base/clock.h"
#include "fl/common/config/plan.h"
#include "fl/server/storage/rows.h"

// The round as a policy: pure functions of the plan and of rows.
namespace fl::server {

// Clients asked in a round: goal x over_select, rounded up, and no more than there are.
std::uint64_t CohortSize(const RoundsConfig& rounds, std::uint64_t present);

// The names of a round's cohort, sorted; a name's index is its slot. `names` must be sorted.
// Depends on seed, round and names alone.
std::vector<std::string> SampleCohort(std::uint64_t seed, std::uint64_t round,
                                      const std::vector<std::string>& names, std::uint64_t count);

// Likewise those who are asked to measure a version.
std::vector<std::string> SampleEvaluators(std::uint64_t seed, std::uint64_t version,
                                          const std::vector<std::string>& names,
                                          std::uint64_t count);

// A client counts as present for so long after it was last heard of.
Duration PresenceOf(const RoundsConfig& rounds);
// How exactly it is known when a client was last heard of: what comes sooner is not written down.
Duration SeenEvery(const RoundsConfig& rounds);

enum class Closing : std::uint8_t { kStaysOpen, kFold, kAbandon };
// What becomes of a collecting round: it folds at the goal, when everyone asked has reported, or at
// the deadline with at least min_report; it is abandoned at the deadline with fewer.
Closing DecideClosing(const RoundsConfig& rounds, const RoundRow& round, TimePoint now);

// The updates that a round of this cohort can still wait for.
std::uint64_t GoalOf(const RoundsConfig& rounds, const RoundRow& round);

// When a client without a task should come again, in milliseconds from now.
struct Pace {
  std::uint32_t again_min_ms = 0;
  std::uint32_t again_max_ms = 0;
};
// Clients spread out by their names, so that a fleet that was started at once does not come back at
// once. `near`: work is expected soon.
Pace PaceOf(const RoundsConfig& rounds, const std::string& client, bool near);

// The id of a task: a digest of federation, kind, round and client. Never 0.
std::uint64_t TaskIdOf(const std::string& federation, wire::TaskKind kind, std::uint64_t round,
                       const std::string& client);

}  // namespace fl::server
