#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/simulations/small_federation.h"
#include "fl/tests/support/environment.h"
#include "fl/tests/support/process_usage.h"
#include "fl/tests/support/sanitized.h"

namespace fl::fault {
namespace {

using fl::testing::SmallFederation;
using fl::testing::Usage;
using fl::testing::UsageOf;

// The rows that say who took part in a round stay: about 200 bytes a task and 400 a round, here in
// memory. Beside them nothing may.
constexpr std::uint64_t kRoundBytesMax = 5000;
constexpr std::uint64_t kSlackBytes = 512 * 1024;

TEST_CASE("Soak: rounds with 16 simulated devices leave no memory and no descriptor behind") {
  const std::uint64_t rounds = fl::testing::FromEnvironment("FL_SOAK", 120);
  REQUIRE(rounds >= 30);
  // Rounds last seconds, so that timers which nobody waits for any more are few.
  SmallFederation federation({"rounds.count=" + std::to_string(rounds), "simulation.devices=16",
                              "rounds.population_min=16", "rounds.goal=16", "rounds.min_report=8",
                              "simulation.link.latency_ms=300",
                              "simulation.examples_per_second=100"});
  std::vector<Usage> seen;
  seen.reserve(rounds);
  fl::testing::Get(federation->Run([&](const sim::RoundSeen&) { seen.push_back(UsageOf()); }));
  REQUIRE(seen.size() == rounds);
  // Caches are warm after a third.
  const Usage& before = seen[rounds / 3];
  const Usage& after = seen.back();
  const std::uint64_t between = rounds - rounds / 3;
  const std::uint64_t grown =
      std::max(after.resident_bytes, before.resident_bytes) - before.resident_bytes;
  MESSAGE(rounds, " rounds: ", after.resident_bytes / 1024, " KiB, ", grown / between,
          " bytes more each round, ", after.descriptors, " descriptors");
  CHECK(after.descriptors == before.descriptors);
  if (!fl::testing::kSanitized) CHECK(grown <= between * kRoundBytesMax + kSlackBytes);
}

}  // namespace
}  // namespace fl::fault
