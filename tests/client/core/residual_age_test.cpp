#include <string>

#include <doctest/doctest.h>

#include "fl/client/core/client_core.h"
#include "fl/tests/client/fake_federation.h"

namespace fl::client {
namespace {

using testing::Device;
using testing::FakeServer;
using testing::MakeData;
using testing::PlanText;

// How many tensors of its residual a device drops that comes back three rounds later.
std::uint64_t DroppedAfterThreeRounds(const std::string& rounds_max) {
  const std::string kept = "gather_below = 0";
  std::string plan = PlanText("top_k 20%");
  plan.replace(plan.find(kept), kept.size(), kept + "\nresidual_rounds_max = " + rounds_max);
  FakeServer server(plan);
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  server.rounds = 1;
  REQUIRE(device.Run());
  CHECK(device.state.residual_round == 1);
  for (int i = 0; i < 3; ++i) server.PublishUnchanged();
  server.rounds = 5;
  REQUIRE(device.Run());
  CHECK(device.state.residual_round == 5);
  return device.state.counters.residual_tensors_dropped;
}

TEST_CASE("ClientCore: a residual older than the plan keeps it is dropped") {
  CHECK(DroppedAfterThreeRounds("3") == 2);
  CHECK(DroppedAfterThreeRounds("4") == 0);
  CHECK(DroppedAfterThreeRounds("0") == 0);
}

}  // namespace
}  // namespace fl::client
