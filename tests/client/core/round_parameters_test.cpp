#include <algorithm>
#include <limits>

#include <doctest/doctest.h>

#include "fl/client/core/client_core.h"
#include "fl/tests/client/fake_federation.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using testing::Device;
using testing::FakeServer;
using testing::MakeData;
using testing::PlanText;

constexpr const char* kShared = "quantize 8 scale=shared range=2";

// Round parameters of kShared: a range for each of the plan's two tensors.
Bytes Ranges(float range) {
  ByteWriter out;
  out.Write(range);
  out.Write(range);
  return std::move(out).Take();
}

TEST_CASE("ClientCore: fetches a round's parameters only where they are not those that it has") {
  FakeServer server(PlanText(kShared));
  const Digest first = server.AddBlob(Ranges(2));
  const Digest second = server.AddBlob(Ranges(4));
  server.parameters_of = [&](std::uint64_t round) { return round < 3 ? first : second; };
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  REQUIRE(device.Run());
  CHECK(server.accepted.size() == 3);
  CHECK(std::ranges::count(server.log, "GET /v1/blobs/" + first.ToHex()) == 1);
  CHECK(std::ranges::count(server.log, "GET /v1/blobs/" + second.ToHex()) == 1);
}

TEST_CASE("ClientCore: parameters that a recipe cannot work with are refused, and it goes on") {
  for (const Bytes& wrong :
       {Ranges(0), Ranges(std::numeric_limits<float>::infinity()), Bytes(7), Bytes(9), Bytes()}) {
    CAPTURE(wrong.size());
    FakeServer server(PlanText(kShared));
    const Digest bad = server.AddBlob(wrong);
    const Digest good = server.AddBlob(Ranges(2));
    int asked = 0;
    server.parameters_of = [&](std::uint64_t) { return asked++ == 0 ? bad : good; };
    MemoryContentCache cache;
    Device device(server, cache, MakeData(server.plan()));
    REQUIRE(device.Run());
    CHECK(device.trainings == 3);
    CHECK(server.accepted.size() == 3);
    CHECK(std::ranges::any_of(device.messages, [](const std::string& message) {
      return message.find("round parameters: expected") != std::string::npos;
    }));
  }
}

}  // namespace
}  // namespace fl::client
