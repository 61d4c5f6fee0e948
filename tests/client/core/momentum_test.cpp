#include <algorithm>
#include <string>

#include <doctest/doctest.h>

#include "fl/client/core/client_core.h"
#include "fl/client/state/error_feedback.h"
#include "fl/tests/client/fake_federation.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using fl::testing::Get;
using testing::Device;
using testing::FakeServer;
using testing::MakeData;
using testing::PlanText;

std::string MomentumPlan(const std::string& momentum) {
  const std::string kept = "gather_below = 0";
  std::string plan = PlanText("top_k 20%");
  plan.replace(plan.find(kept), kept.size(), kept + "\nmomentum = " + momentum);
  return plan;
}

TEST_CASE("ClientCore: with momentum, killed before any command it goes on with the same updates") {
  const std::string plan = MomentumPlan("0.5");
  FakeServer undisturbed(plan);
  {
    MemoryContentCache cache;
    Device device(undisturbed, cache, MakeData(undisturbed.plan()));
    REQUIRE(device.Run());
  }
  REQUIRE(undisturbed.accepted.size() == 3);
  for (std::size_t kill_at = 1;; ++kill_at) {
    CAPTURE(kill_at);
    REQUIRE(kill_at < 200);
    FakeServer server(plan);
    MemoryContentCache cache;
    cache.StorePlan(server.Idle().plan, plan, testing::MakePlan(plan));
    Device device(server, cache, MakeData(server.plan()));
    std::size_t command = 0;
    device.kills = [&](const ClientCommand&) { return ++command == kill_at; };
    const bool killed = !device.Run();
    if (killed) REQUIRE(device.Run());
    CHECK(server.accepted == undisturbed.accepted);
    if (!killed) break;
  }
}

TEST_CASE("ClientCore: a first update moves on where it was not sent, a refused one everywhere") {
  for (const bool refused : {false, true}) {
    CAPTURE(refused);
    FakeServer server(MomentumPlan("0.5"));
    if (refused) server.refusals = {ErrorCode::kTooLate};
    server.rounds = 1;
    MemoryContentCache cache;
    Device device(server, cache, MakeData(server.plan()));
    std::optional<NamedTensors> velocity;
    std::optional<NamedTensors> residual;
    device.kills = [&](const ClientCommand& command) {
      const auto* record = std::get_if<RecordActivity>(&command);
      if (record == nullptr || record->what != (refused ? "refused" : "accepted") || velocity)
        return false;
      velocity = *device.state.velocity;
      residual = *device.state.residual;
      return false;
    };
    REQUIRE(device.Run());
    REQUIRE(velocity);
    // The first velocity is the first change, and raw values leave out whole coordinates: what is
    // left of one is what is left of the other.
    CHECK(velocity->values == residual->values);
    const auto stopped = std::ranges::count(velocity->values, 0.0F);
    CHECK(stopped == (refused ? 0 : 4));  // A fifth of 12 and of 3, rounded up: 3 and 1.
  }
}

TEST_CASE("ClientCore: a plan without momentum keeps no velocity, and an idle device stays small") {
  FakeServer server(PlanText("top_k 20%"));
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  REQUIRE(device.Run());
  CHECK(device.state.velocity == nullptr);
  CHECK(device.saved.size() < 4096);
}

TEST_CASE("ClientCore: the activity log says how much was left out, and since when") {
  FakeServer server(PlanText("top_k 20%"));
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  REQUIRE(device.Run());
  std::vector<std::string> details;
  for (const RecordActivity& record : device.activities) {
    if (record.what == "trained") details.push_back(record.detail);
  }
  REQUIRE(details.size() == 3);
  CHECK(details[0].find("; left out 0.") != std::string::npos);
  CHECK(details[0].find("rounds ago") == std::string::npos);
  CHECK(details[1].find(", with a residual of 1 rounds ago") != std::string::npos);
}

}  // namespace
}  // namespace fl::client
