#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fl/common/base/bytes.h"

namespace fl::net {

// Who is at the other end of a connection, from its certificate.
enum class Role : std::uint8_t { kClient, kAdmin };
struct Peer {
  std::string name;  // The certificate's URI, e.g. "spiffe://fl/fleet/device-7".
  Role role = Role::kClient;
  friend bool operator==(const Peer&, const Peer&) = default;
};

using Headers = std::vector<std::pair<std::string, std::string>>;

// One HTTP/1.1 exchange as values. Host and Content-Length are written by SerializeHead and never
// stand in `headers`.
struct Request {
  std::string method;  // GET, HEAD, POST, PUT, PATCH.
  std::string target;  // "/v1/check-in".
  std::string host;    // HOST:PORT, as the client addresses the server.
  Headers headers;
  Bytes body;
  friend bool operator==(const Request&, const Request&) = default;
};
struct Response {
  unsigned status = 200;
  Headers headers;
  Bytes body;
  friend bool operator==(const Response&, const Response&) = default;
};

// The bytes that go before the body. fl-client sends exactly these and fl-sim counts exactly these.
std::string SerializeHead(const Request& request);
std::string SerializeHead(const Response& response);

// The value of the first header of that name (case-insensitive); empty when absent.
std::string_view FindHeader(const Headers& headers, std::string_view name);

}  // namespace fl::net
