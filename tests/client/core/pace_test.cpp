// When a device asks again: overloaded and absent servers, slow links, refusals.
#include <algorithm>

#include <doctest/doctest.h>

#include "fl/client/core/client_core.h"
#include "fl/tests/client/fake_federation.h"

namespace fl::client {
namespace {

using testing::Device;
using testing::FakeServer;
using testing::MakeData;
using testing::PlanText;
using testing::Refuse;

TEST_CASE("ClientCore: an overloaded server is asked again in its own window") {
  FakeServer server(PlanText("raw"));
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  device.carries = [](std::size_t exchange, const net::Request& request, FakeServer& to) {
    return Result<net::Response>(exchange == 1 ? Refuse(ErrorCode::kUnavailable, 503, 7000)
                                               : to.Handle(request));
  };
  REQUIRE(device.Run());
  CHECK(device.waits.front() == std::chrono::milliseconds(7000));
  CHECK(server.accepted.size() == 3);
}

TEST_CASE("ClientCore: a link on which an upload takes minutes carries it at last") {
  FakeServer server(PlanText("raw"));
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  constexpr auto kUpload = std::chrono::minutes(5);
  device.carries = [&](std::size_t, const net::Request& request,
                       FakeServer& to) -> Result<net::Response> {
    const bool carried = request.method != "PUT" || device.timeouts.back() > kUpload;
    if (!carried) return Error{ErrorCode::kTimeout, "no answer in time"};
    return to.Handle(request);
  };
  REQUIRE(device.Run());
  CHECK(server.accepted.size() == 3);
  CHECK(device.trainings == 3);
  CHECK(*std::ranges::max_element(device.timeouts) <= std::chrono::hours(1));
}

TEST_CASE("ClientCore: a server that stays away is asked ever more rarely") {
  FakeServer server(PlanText("raw"));
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  device.carries = [](std::size_t, const net::Request&, FakeServer&) -> Result<net::Response> {
    return Error{ErrorCode::kUnavailable, "no route"};
  };
  CHECK_FALSE(device.Run(200));
  REQUIRE(device.waits.size() > 50);
  for (std::size_t i = 0; i < device.waits.size(); ++i) {
    const auto limit = std::chrono::seconds(1) * (1LL << std::min<std::size_t>(i, 9));
    CHECK(device.waits[i] <= std::min<Duration>(limit, std::chrono::minutes(5)));
  }
  // Of 50 uniform draws up to five minutes the largest is above two with probability 1 - 0.4^40.
  CHECK(*std::ranges::max_element(device.waits) > std::chrono::minutes(2));
}

TEST_CASE("ClientCore: after refusals of what it sends a device waits longer and longer") {
  MemoryContentCache cache;
  const auto time_until_accepted = [&cache](ErrorCode code) {
    FakeServer server(PlanText("top_k 20%"));
    server.refusals = std::vector<ErrorCode>(8, code);
    server.rounds = 1;
    Device device(server, cache, MakeData(server.plan()));
    REQUIRE(device.Run());
    return device.now - TimePoint();
  };
  const Duration unneeded = time_until_accepted(ErrorCode::kNotNeeded);
  CHECK(time_until_accepted(ErrorCode::kTooLate) == unneeded);
  CHECK(time_until_accepted(ErrorCode::kNormExceeded) > unneeded + std::chrono::seconds(30));
}

}  // namespace
}  // namespace fl::client
