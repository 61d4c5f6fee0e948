#include "fl/server/http/overload.h"

#include <doctest/doctest.h>

#include "fl/common/wire/messages.h"
#include "fl/tests/support/result.h"

namespace fl::server {
namespace {

using fl::testing::Get;

net::Request Of(const std::string& method, const std::string& target) {
  return {method, target, "localhost", {}, {}};
}

const net::Peer kDevice{"spiffe://fl/fleet/device-1", net::Role::kClient};
const net::Peer kAdmin{"spiffe://fl/fleet/ada", net::Role::kAdmin};

bool IsPutOff(const net::Peer& peer, const net::Request& request, std::size_t waiting) {
  return PutOff(peer, request, waiting, {.reservations = 10, .updates = 20, .all = 30}).has_value();
}

}  // namespace

TEST_CASE("Overload: reservations are put off first, then whole updates, then all else") {
  const net::Request reserve = Of("POST", "/v1/updates/0000000000000001/reserve");
  const net::Request whole = Of("PUT", "/v1/updates/0000000000000001");
  CHECK_FALSE(IsPutOff(kDevice, reserve, 9));
  CHECK(IsPutOff(kDevice, reserve, 10));
  CHECK_FALSE(IsPutOff(kDevice, whole, 19));
  CHECK(IsPutOff(kDevice, whole, 20));
  for (const net::Request& under_way :
       {Of("PATCH", "/v1/updates/0000000000000001"), Of("HEAD", "/v1/updates/0000000000000001"),
        Of("POST", "/v1/updates/0000000000000001/commit"), Of("POST", "/v1/check-in"),
        Of("GET", "/v1/blobs/00")}) {
    CAPTURE(under_way.method);
    CHECK_FALSE(IsPutOff(kDevice, under_way, 29));
    CHECK(IsPutOff(kDevice, under_way, 30));
  }
  CHECK_FALSE(IsPutOff(kAdmin, Of("GET", "/v1/admin/status"), 1000000));
  CHECK(IsPutOff(kDevice, Of("GET", "/v1/admin/status"), 30));
}

TEST_CASE("Overload: a refusal names the window, the longer the more requests wait") {
  const net::Request reserve = Of("POST", "/v1/updates/0000000000000001/reserve");
  std::uint32_t last = 0;
  for (const std::size_t waiting : {300U, 1000U, 3000U}) {
    const auto response = PutOff(kDevice, reserve, waiting);
    REQUIRE(response.has_value());
    CHECK(response->status == 503);
    const auto refusal = Get(wire::Decode<wire::Refusal>(response->body));
    CHECK(static_cast<ErrorCode>(refusal.code) == ErrorCode::kUnavailable);
    CHECK(refusal.again_min_ms > last);
    CHECK(refusal.again_max_ms > refusal.again_min_ms);
    CHECK(net::FindHeader(response->headers, "Retry-After") ==
          std::to_string(refusal.again_min_ms / 1000));
    last = refusal.again_min_ms;
  }
}

TEST_CASE("Overload: a reservation beyond the uploads under way is refused until one ends") {
  UploadsUnderWay uploads(2, std::chrono::seconds(30));
  const TimePoint now{};
  const auto reserve = [&](const std::string& client, std::uint64_t task) {
    return uploads.Take(client, UploadReserve{TaskId{task}, {}}, now);
  };
  CHECK_FALSE(reserve("a", 1).has_value());
  // Again, or for tasks that it does not even have: that takes no place of anybody else.
  for (std::uint64_t task = 1; task < 100; ++task) CHECK_FALSE(reserve("a", task).has_value());
  CHECK_FALSE(reserve("b", 2).has_value());
  const auto refused = reserve("c", 3);
  REQUIRE(refused.has_value());
  CHECK(refused->status == 503);
  CHECK(Get(wire::Decode<wire::Refusal>(refused->body)).again_min_ms >= 1000);
  // Pieces and commits are never refused, whoever's they are.
  CHECK_FALSE(uploads.Take("c", UploadChunk{TaskId{3}, 0}, now).has_value());
  CHECK_FALSE(uploads.Take("a", UploadCommit{TaskId{1}, {}}, now).has_value());
  CHECK_FALSE(reserve("c", 3).has_value());
}

TEST_CASE("Overload: an upload that has stopped gives its place up, one that moves keeps it") {
  UploadsUnderWay uploads(1, std::chrono::seconds(30));
  const TimePoint begin{};
  const auto reserve = [&](const std::string& client, int seconds) {
    return uploads.Take(client, UploadReserve{TaskId{1}, {}}, begin + std::chrono::seconds(seconds))
        .has_value();
  };
  CHECK_FALSE(reserve("a", 0));
  uploads.Take("a", UploadChunk{TaskId{1}, 0}, begin + std::chrono::seconds(20));
  CHECK(reserve("b", 49));
  CHECK_FALSE(reserve("b", 50));
}

}  // namespace fl::server
