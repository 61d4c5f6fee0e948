#include "fl/common/net/message.h"

#include <doctest/doctest.h>

namespace {

using namespace fl;  // NOLINT(google-build-using-namespace): a test.

}  // namespace

TEST_CASE("SerializeHead: a request has its line then Host then its headers then its length") {
  const net::Request request{.method = "PUT",
                             .target = "/v1/updates/0011223344556677",
                             .host = "fl.example:8443",
                             .headers = {{"Upload-Offset", "12"}},
                             .body = Bytes(7)};
  CHECK(SerializeHead(request) ==
        "PUT /v1/updates/0011223344556677 HTTP/1.1\r\nHost: fl.example:8443\r\n"
        "Upload-Offset: 12\r\nContent-Length: 7\r\n\r\n");
}

TEST_CASE("SerializeHead: GET and HEAD without a body have no length and POST has one") {
  net::Request request{.method = "GET", .target = "/", .host = "x", .headers = {}, .body = {}};
  CHECK(SerializeHead(request) == "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  request.method = "HEAD";
  CHECK(SerializeHead(request) == "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
  request.method = "POST";
  CHECK(SerializeHead(request) == "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
}

TEST_CASE("SerializeHead: an answer has its status and a length unless it can have no body") {
  net::Response response{.status = 206, .headers = {{"A", "b"}}, .body = Bytes(3)};
  CHECK(SerializeHead(response) ==
        "HTTP/1.1 206 Partial Content\r\nA: b\r\nContent-Length: 3\r\n\r\n");
  response = {.status = 204, .headers = {}, .body = {}};
  CHECK(SerializeHead(response) == "HTTP/1.1 204 No Content\r\n\r\n");
}

TEST_CASE("FindHeader: the first of that name counts and case does not") {
  const net::Headers headers = {{"Upload-Offset", "1"}, {"upload-offset", "2"}};
  CHECK(net::FindHeader(headers, "UPLOAD-OFFSET") == "1");
  CHECK(net::FindHeader(headers, "Upload").empty());
  CHECK(net::FindHeader({}, "Range").empty());
}
