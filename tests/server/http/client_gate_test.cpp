#include "fl/server/http/client_gate.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/wire/messages.h"
#include "fl/server/core/request.h"
#include "fl/tests/support/result.h"

namespace fl::server {
namespace {

using fl::testing::Get;
using std::chrono::milliseconds;
using std::chrono::seconds;

const TimePoint kBegin = FromMicroseconds(1'000'000'000);
const net::Request kCheckIn{"POST", "/v1/check-in", "localhost", {}, {}};
constexpr auto kWhy = PutOffReason::kBehind;

net::Peer Device(const std::string& name) {
  return {"spiffe://fl/fleet/" + name, net::Role::kClient};
}
const net::Peer kAdmin{"spiffe://fl/admin/ada", net::Role::kAdmin};

// How many of these requests pass before one is refused; at most a thousand are made.
int Pass(ClientGate& gate, const net::Peer& peer, const net::Request& request, TimePoint now) {
  int passed = 0;
  while (passed < 1000 && !gate.Take(peer, request, now)) ++passed;
  return passed;
}

net::Response PutOffFor(std::uint32_t window_ms) {
  return RefusalResponse({ErrorCode::kUnavailable, "later"}, window_ms, 2 * window_ms);
}

net::Request Piece(std::size_t bytes) {
  return {"PATCH", "/v1/updates/0000000000000001", "localhost", {}, Bytes(bytes)};
}

}  // namespace

TEST_CASE("ClientGate: a client has its burst and then its rate, whatever others do") {
  ClientGate gate({.requests_per_second = 10, .burst = 30});
  CHECK(Pass(gate, Device("a"), kCheckIn, kBegin) == 30);
  CHECK(Pass(gate, Device("b"), kCheckIn, kBegin) == 30);
  CHECK(Pass(gate, Device("a"), kCheckIn, kBegin + milliseconds(99)) == 0);
  CHECK(Pass(gate, Device("a"), kCheckIn, kBegin + milliseconds(100)) == 1);
  // What was refused has cost nothing.
  CHECK(Pass(gate, Device("a"), kCheckIn, kBegin + milliseconds(1100)) == 10);
  // No more than the burst is ever saved up.
  CHECK(Pass(gate, Device("a"), kCheckIn, kBegin + seconds(3600)) == 30);
}

TEST_CASE("ClientGate: one request too many is unavailable, with its detail and a window") {
  ClientGate gate({.requests_per_second = 10, .burst = 1});
  CHECK_FALSE(gate.Take(Device("a"), kCheckIn, kBegin).has_value());
  const auto response = gate.Take(Device("a"), kCheckIn, kBegin);
  REQUIRE(response.has_value());
  CHECK(response->status == 503);
  const auto refusal = Get(wire::Decode<wire::Refusal>(response->body));
  CHECK(static_cast<ErrorCode>(refusal.code) == ErrorCode::kUnavailable);
  CHECK(refusal.message == "expected at most 10 requests a second");
  CHECK(refusal.again_min_ms == 1000);
  CHECK(refusal.again_max_ms == 2000);
  CHECK(net::FindHeader(response->headers, "Retry-After") == "1");
  CHECK(net::FindHeader(response->headers, wire::kDetailHeader) == "too_many_requests");
}

TEST_CASE("ClientGate: pieces of a model or an update count as an eighth") {
  ClientGate gate({.requests_per_second = 10, .burst = 10});
  const net::Request model{"GET", "/v1/blobs/00", "localhost", {{"Range", "bytes=0-9"}}, {}};
  CHECK(Pass(gate, Device("a"), Piece(64U << 10), kBegin) == 80);
  CHECK(Pass(gate, Device("b"), model, kBegin) == 80);
  CHECK(Pass(gate, Device("c"), Piece((64U << 10) - 1), kBegin) == 10);
  net::Request whole = Piece(64U << 10);
  whole.method = "PUT";
  CHECK(Pass(gate, Device("d"), whole, kBegin) == 10);
}

TEST_CASE("ClientGate: without a limit, and for admins, all pass") {
  ClientGate unlimited({.requests_per_second = 0, .burst = 1});
  CHECK(Pass(unlimited, Device("a"), kCheckIn, kBegin) == 1000);
  CHECK(unlimited.clients() == 0);
  ClientGate gate({.requests_per_second = 1, .burst = 1});
  CHECK(Pass(gate, kAdmin, kCheckIn, kBegin) == 1000);
  gate.NoteAnswer(kAdmin, PutOffFor(1000), kWhy, kBegin);
  CHECK(gate.PauseOf(kAdmin, kBegin) == Duration(0));
  CHECK(gate.put_off(kWhy).value() == 0);
}

TEST_CASE("ClientGate: the burst is ten seconds' worth, and two hundred at least") {
  CHECK(ClientLimits::Of(0).requests_per_second == 0);
  CHECK(ClientLimits::Of(1).burst == 200);
  CHECK(ClientLimits::Of(20).burst == 200);
  CHECK(ClientLimits::Of(21).burst == 210);
  CHECK(ClientLimits::Of(100).burst == ClientLimits().burst);
  CHECK(ClientLimits::Of(100).requests_per_second == ClientLimits().requests_per_second);
  ClientGate fastest(ClientLimits::Of(100'000));
  CHECK(Pass(fastest, Device("a"), kCheckIn, kBegin) == 1000);
}

TEST_CASE("ClientGate: who was put off is paused until its window, at most for a second") {
  ClientGate gate;
  gate.NoteAnswer(Device("a"), PutOffFor(300), kWhy, kBegin);
  gate.NoteAnswer(Device("b"), PutOffFor(30'000), PutOffReason::kHeldOff, kBegin);
  CHECK(gate.PauseOf(Device("a"), kBegin + milliseconds(100)) == milliseconds(200));
  CHECK(gate.PauseOf(Device("a"), kBegin + milliseconds(300)) == Duration(0));
  CHECK(gate.PauseOf(Device("b"), kBegin) == seconds(1));
  CHECK(gate.PauseOf(Device("b"), kBegin + seconds(1)) == Duration(0));
  CHECK(gate.PauseOf(Device("c"), kBegin) == Duration(0));
  CHECK(gate.put_off(kWhy).value() == 1);
  CHECK(gate.put_off(PutOffReason::kHeldOff).value() == 1);
  CHECK(gate.paused().value() == 2);
}

TEST_CASE("ClientGate: an answer that puts nobody off pauses nobody") {
  ClientGate gate;
  net::Response answer;
  SUBCASE("200") {}
  SUBCASE("a refusal for good") {
    answer = RefusalResponse({ErrorCode::kMalformed, "no"});
  }
  SUBCASE("another status with a window") {
    answer = RefusalResponse({ErrorCode::kNotNeeded, "enough"}, 1000, 2000);
  }
  SUBCASE("503 without a window") {
    answer = RefusalResponse({ErrorCode::kConflict, "again"});
  }
  SUBCASE("503 without a body") {
    answer.status = 503;
  }
  gate.NoteAnswer(Device("a"), answer, kWhy, kBegin);
  CHECK(gate.PauseOf(Device("a"), kBegin) == Duration(0));
  CHECK(gate.put_off(kWhy).value() == 0);
  CHECK(gate.clients() == 0);
}

TEST_CASE("ClientGate: clients of whom there is nothing to know are forgotten") {
  ClientGate gate({.requests_per_second = 100, .burst = 100, .clients_max = 4096});
  for (int i = 0; i < 100'000; ++i) {
    // Each is back at its full burst 10 ms later; 1,000 of them come in that time.
    gate.Take(Device(std::to_string(i)), kCheckIn, kBegin + std::chrono::microseconds(10 * i));
  }
  CHECK(gate.clients() <= 4096);
  gate.Take(Device("late"), kCheckIn, kBegin + seconds(3600));
  CHECK(gate.clients() <= 1025);
}

TEST_CASE("ClientGate: beyond the most clients that it knows the others go uncounted") {
  ClientGate gate({.requests_per_second = 1, .burst = 2, .clients_max = 2});
  CHECK(Pass(gate, Device("a"), kCheckIn, kBegin) == 2);
  CHECK(Pass(gate, Device("b"), kCheckIn, kBegin) == 2);
  CHECK(Pass(gate, Device("c"), kCheckIn, kBegin) == 1000);
  CHECK(gate.clients() == 2);
  gate.NoteAnswer(Device("c"), PutOffFor(1000), kWhy, kBegin);
  CHECK(gate.PauseOf(Device("c"), kBegin) == Duration(0));
  // Those who are known stay so while there is something to know.
  CHECK(Pass(gate, Device("a"), kCheckIn, kBegin + milliseconds(1000)) == 1);
  // The full ones make room.
  CHECK(Pass(gate, Device("c"), kCheckIn, kBegin + milliseconds(2500)) == 2);
  CHECK(gate.clients() == 2);
}

TEST_CASE("ClientGate: many threads take what one bucket holds") {
  ClientGate gate({.requests_per_second = 1, .burst = 500});
  std::atomic<int> passed = 0;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { passed += Pass(gate, Device("a"), kCheckIn, kBegin); });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(passed == 500);
}

}  // namespace fl::server
