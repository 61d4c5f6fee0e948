#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "fl/common/net/http.h"
#include "fl/tests/support/result.h"

namespace fl::net {
namespace {

using fl::testing::Get;

// A connection that says something and then neither sends nor, until it is asked, reads.
class StalledPeer {
 public:
  StalledPeer(std::uint16_t port, const std::string& says)
      : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const int receive_bytes = 4096;
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    const timeval patience{30, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(::send(socket_, says.data(), says.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(says.size()));
  }
  StalledPeer(const StalledPeer&) = delete;
  StalledPeer& operator=(const StalledPeer&) = delete;
  ~StalledPeer() { ::close(socket_); }

  // What came until the server closed the connection; -1 when it never did.
  std::int64_t ReadToEnd() const {
    std::vector<char> buffer(1U << 16);
    std::int64_t total = 0;
    while (true) {
      const ssize_t count = ::recv(socket_, buffer.data(), buffer.size(), 0);
      if (count == 0 || (count < 0 && errno == ECONNRESET)) return total;
      if (count < 0) return -1;
      total += count;
    }
  }

 private:
  int socket_;
};

constexpr std::size_t kAnswerBytes = 4U << 20;  // More than sockets hold.
constexpr std::size_t kPeers = 8;

class LargeHandler final : public RequestHandler {
 public:
  void OnRequest(Peer, Request, std::unique_ptr<Responder> responder) override {
    responder->Send({200, {}, Bytes(kAnswerBytes)});
    ++count_;
  }
  std::size_t count() const { return count_; }

 private:
  std::atomic<std::size_t> count_ = 0;
};

HttpLimits ShortLimits() {
  HttpLimits limits;
  limits.head = std::chrono::milliseconds(30);
  limits.step = std::chrono::milliseconds(30);
  limits.idle = std::chrono::hours(1);
  return limits;
}

// True once `until` is; false after half a minute.
template <typename Until>
bool Waits(Until until) {
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!until()) {
    if (std::chrono::steady_clock::now() > patience) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST_CASE("HttpServer: peers that stall in a head or a body are answered and closed in time") {
  LargeHandler handler;
  const auto server = Get(HttpServer::StartLocal({}, ShortLimits(), 1, handler));
  std::string says = "POST /x HTTP/1.1\r\nHost: a";
  SUBCASE("head") {}
  SUBCASE("body") {
    says += "\r\nContent-Length: 9\r\n\r\nfour";
  }
  std::deque<StalledPeer> peers;
  for (std::size_t i = 0; i < kPeers; ++i) peers.emplace_back(server->port(), says);
  for (const StalledPeer& peer : peers) CHECK(peer.ReadToEnd() > 0);
  CHECK(handler.count() == 0);
}

TEST_CASE("HttpServer: peers that do not read their answer are cut off in time") {
  LargeHandler handler;
  const auto server = Get(HttpServer::StartLocal({}, ShortLimits(), 1, handler));
  std::deque<StalledPeer> peers;
  for (std::size_t i = 0; i < kPeers; ++i) {
    peers.emplace_back(server->port(), "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  REQUIRE(Waits([&] { return handler.count() == kPeers; }));
  CHECK(Waits([&] { return server->connections() == 0; }));
  for (const StalledPeer& peer : peers) {
    const std::int64_t read = peer.ReadToEnd();
    CHECK(read >= 0);
    CHECK(read < static_cast<std::int64_t>(kAnswerBytes));
  }
}

}  // namespace
}  // namespace fl::net
