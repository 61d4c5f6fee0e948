#include "fl/common/net/memory_transport.h"

#include <thread>

#include <doctest/doctest.h>

#include "fl/tests/common/net/handlers.h"
#include "fl/tests/support/result.h"

namespace {

using namespace fl;           // NOLINT(google-build-using-namespace): a test.
using namespace fl::testing;  // NOLINT(google-build-using-namespace): a test.
using net::MemoryFault;
using net::MemoryTransport;

constexpr Duration kPatience = std::chrono::seconds(60);
const net::Peer kPeer{.name = "spiffe://fl/fleet/device-0001", .role = net::Role::kClient};

net::Request Post(std::string_view body) {
  return {.method = "POST", .target = "/", .host = "x", .headers = {}, .body = ToBytes(body)};
}

}  // namespace

TEST_CASE("MemoryTransport: an exchange reaches the handler and counts the bytes of both heads") {
  EchoHandler handler;
  MemoryTransport transport(handler, kPeer);
  const net::Response response = Get(transport.Exchange(Post("hello"), kPatience));
  CHECK(AsText(response.body) == "hello");
  CHECK(net::FindHeader(response.headers, "Echo-Peer") == kPeer.name);
  CHECK(transport.bytes_sent() == SerializeHead(Post("hello")).size() + 5);
  CHECK(transport.bytes_received() == SerializeHead(response).size() + 5);
}

TEST_CASE("MemoryTransport: the Nth exchange fails as asked and the others go through") {
  for (const auto& [fault, handled] :
       {std::pair{MemoryFault::kNotSent, 2U}, std::pair{MemoryFault::kAnswerLost, 3U},
        std::pair{MemoryFault::kAnswerTruncated, 3U}}) {
    for (std::uint64_t failing = 1; failing <= 3; ++failing) {
      EchoHandler handler;
      MemoryTransport transport(handler, kPeer);
      transport.FailAt(failing, fault);
      for (std::uint64_t exchange = 1; exchange <= 3; ++exchange) {
        const ErrorCode expected = exchange == failing ? ErrorCode::kUnavailable : ErrorCode::kOk;
        CHECK(CodeOf(transport.Exchange(Post("x"), kPatience)) == expected);
      }
      CHECK(handler.count() == handled);
      CHECK(transport.exchanges() == 3);
    }
  }
}

TEST_CASE("MemoryTransport: an exchange that is cut ends at any byte of its request or answer") {
  EchoHandler whole;
  MemoryTransport undisturbed(whole, kPeer);
  Get(undisturbed.Exchange(Post("hello"), kPatience));
  const std::uint64_t sent = undisturbed.bytes_sent();
  const std::uint64_t both = sent + undisturbed.bytes_received();
  for (std::uint64_t bytes = 0; bytes <= both; ++bytes) {
    EchoHandler handler;
    MemoryTransport transport(handler, kPeer);
    transport.CutAt(1, bytes);
    const ErrorCode expected = bytes < both ? ErrorCode::kUnavailable : ErrorCode::kOk;
    CHECK(CodeOf(transport.Exchange(Post("hello"), kPatience)) == expected);
    CHECK(transport.bytes_sent() + transport.bytes_received() == bytes);
    CHECK(handler.count() == (bytes < sent ? 0 : 1));
    CHECK(transport.Exchange(Post("hello"), kPatience));
  }
}

TEST_CASE("MemoryTransport: a dropped responder answers 503") {
  HoldingHandler handler;
  MemoryTransport transport(handler, kPeer);
  std::thread dropper([&] { handler.Take().reset(); });
  CHECK(Get(transport.Exchange(Post(""), kPatience)).status == 503);
  dropper.join();
}

TEST_CASE("MemoryTransport: no answer in time is kTimeout and a late one is dropped") {
  HoldingHandler handler;
  MemoryTransport transport(handler, kPeer);
  CHECK(CodeOf(transport.Exchange(Post(""), Duration(1))) == ErrorCode::kTimeout);
  handler.Take()->Send({.status = 200, .headers = {}, .body = {}});
  std::thread answerer([&] { handler.Take()->Send({.status = 202, .headers = {}, .body = {}}); });
  CHECK(Get(transport.Exchange(Post(""), kPatience)).status == 202);
  answerer.join();
}

TEST_CASE("MemoryTransport: Cancel ends the exchange under way and each later one") {
  HoldingHandler handler;
  MemoryTransport transport(handler, kPeer);
  std::thread canceller([&] {
    const auto responder = handler.Take();
    transport.Cancel();
  });
  CHECK(CodeOf(transport.Exchange(Post(""), kPatience)) == ErrorCode::kUnavailable);
  canceller.join();
  CHECK(CodeOf(transport.Exchange(Post(""), kPatience)) == ErrorCode::kUnavailable);
}

TEST_CASE("MemoryTransport: an answer above the limit is kLimitExceeded") {
  EchoHandler handler;
  net::HttpLimits limits;
  limits.body_bytes_max = 4;
  MemoryTransport transport(handler, kPeer, limits);
  CHECK(CodeOf(transport.Exchange(Post("1234"), kPatience)) == ErrorCode::kOk);
  CHECK(CodeOf(transport.Exchange(Post("12345"), kPatience)) == ErrorCode::kLimitExceeded);
}
