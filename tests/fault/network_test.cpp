#include <array>

#include <doctest/doctest.h>

#include "fl/tests/fault/faulty_federation.h"
#include "fl/tests/fault/small_fleet.h"
#include "fl/tests/support/environment.h"
#include "fl/tests/support/sanitized.h"

namespace fl::fault {
namespace {

constexpr std::size_t kDevices = 3;

// How a round treats those who are late.
struct Policy {
  std::shared_ptr<const server::FederationPlan> plan;
  bool waits_for_all = false;  // Then faults do not show in the model.
};

const std::array<Policy, 3>& Policies() {
  static const std::array<Policy, 3> policies = {
      Policy{SmallPlan("count = 3\npopulation_min = 3\ngoal = 3\nmin_report = 3\n"
                       "deadline_s = 1000000\nwait_s = 2"),
             true},
      Policy{SmallPlan("count = 3\npopulation_min = 3\ngoal = 3\nmin_report = 1\n"
                       "deadline_s = 40\nwait_s = 2")},
      Policy{SmallPlan("count = 3\npopulation_min = 3\ngoal = 2\nmin_report = 1\n"
                       "over_select = 1.5\ndeadline_s = 20\nwait_s = 2\nmax_staleness = 2")}};
  return policies;
}

std::string ReplayCommand(std::uint64_t seed) {
  return "FL_FAULT_SEED=" + std::to_string(seed) +
         " " FL_TEST_BINARY_DIR "/tests/fault_test -tc='Network: *seed*'";
}

// Some seeds have little of each fault, and some much of all.
FaultRates RatesOf(std::uint64_t seed) {
  RngStream rng = RngStream(seed).Child("rates");
  FaultRates rates;
  for (double* rate : {&rates.lost, &rates.twice, &rates.late, &rates.cut}) {
    *rate = 0.2 * rng.UniformDouble() * rng.UniformDouble();
  }
  rates.device_dies = 0.05 * rng.UniformDouble();
  rates.server = {0.05 * rng.UniformDouble(), 0.1 * rng.UniformDouble()};
  return rates;
}

struct Totals {
  std::size_t runs = 0;
  std::size_t deaths = 0;
  std::size_t failures = 0;
  std::size_t accepted = 0;
  std::size_t requests = 0;
};

Digest UndisturbedModel(const Policy& policy) {
  FaultyFederation federation({policy.plan}, SmallShares(*policy.plan, kDevices));
  REQUIRE(federation.Run());
  REQUIRE(federation.history().faults().empty());
  REQUIRE(federation.history().trainings() == 3 * kDevices);
  return federation.history().model(3);
}

void Play(std::uint64_t seed, Totals& totals) {
  const Policy& policy = Policies()[seed % Policies().size()];
  static const auto shares = SmallShares(*policy.plan, kDevices);
  static const Digest undisturbed = UndisturbedModel(Policies()[0]);
  const std::size_t piece = seed % 2 == 0 ? 48 : 1U << 20;
  FaultyFederation federation({policy.plan, seed, piece, RatesOf(seed)}, shares);
  INFO("seed ", seed, "; again by ", ReplayCommand(seed));
  REQUIRE(federation.Run());
  const History& history = federation.history();
  for (const std::string& fault : history.faults()) {
    CAPTURE(fault);
    CHECK(fault.empty());
  }
  CHECK(history.published() == 3);
  if (policy.waits_for_all) {
    CHECK(history.accepted() == 3 * kDevices);
    CHECK(history.model(3) == undisturbed);
  }
  ++totals.runs;
  totals.deaths += federation.server().deaths();
  totals.failures += federation.server().failures();
  totals.accepted += history.accepted();
  totals.requests += federation.requests();
}

TEST_CASE("Network: whatever the seed loses, doubles, delays, cuts and kills, nothing is lost") {
  Totals totals;
  if (const std::uint64_t seed = fl::testing::FromEnvironment("FL_FAULT_SEED", 0); seed > 0) {
    return Play(seed, totals);
  }
  const std::uint64_t seeds =
      fl::testing::FromEnvironment("FL_FAULT_SEEDS", fl::testing::kSanitized ? 60 : 1000);
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) Play(seed, totals);
  MESSAGE(totals.runs, " seeds: ", totals.requests, " requests, ", totals.accepted,
          " updates, the server died ", totals.deaths, " times, its storage failed ",
          totals.failures, " times");
  if (seeds < 50) return;
  CHECK(totals.deaths >= seeds / 2);
  CHECK(totals.failures >= seeds / 2);
  CHECK(totals.requests > 30 * seeds);
}

TEST_CASE("Network: a server that dies in the middle of 100 uploads loses and doubles none") {
  constexpr std::size_t kMany = 100;
  const auto plan = SmallPlan(
      "count = 1\npopulation_min = 100\ngoal = 100\nmin_report = 100\n"
      "deadline_s = 100000\nwait_s = 2");
  const auto shares = SmallShares(*plan, kMany);
  FaultyFederation undisturbed({plan, 1, 48}, shares);
  REQUIRE(undisturbed.Run());
  for (const std::size_t accepted : {0U, 1U, 50U, 99U}) {
    CAPTURE(accepted);
    FaultyFederation federation({plan, 1, 48}, shares);
    federation.server().DieAfter(accepted);
    REQUIRE(federation.Run());
    const History& history = federation.history();
    CHECK(federation.server().deaths() == 1);
    CHECK(history.faults() == std::vector<std::string>{});
    CHECK(history.accepted() == kMany);
    CHECK(history.trainings() == kMany);
    CHECK(history.model(1) == undisturbed.history().model(1));
  }
}

}  // namespace
}  // namespace fl::fault
