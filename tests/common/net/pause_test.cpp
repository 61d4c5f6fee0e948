#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <thread>

#include <doctest/doctest.h>

#include "fl/common/net/http.h"
#include "fl/tests/common/net/handlers.h"
#include "fl/tests/common/net/tls_fixture.h"
#include "fl/tests/support/local_http.h"

// Requests that the server leaves unread for a while.
namespace fl::testing {
namespace {

using net::HttpClient;
using net::HttpLimits;
using net::HttpServer;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr Duration kPatience = std::chrono::seconds(60);
const net::Request kAsk{"GET", "/x", "localhost", {}, {}};
const std::string kAskText = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

// Pauses each request of a peer of that name.
class PausingHandler final : public net::RequestHandler {
 public:
  PausingHandler(std::string name, Duration pause) : name_(std::move(name)), pause_(pause) {}
  void OnRequest(net::Peer, net::Request, std::unique_ptr<net::Responder> responder) override {
    ++answered_;
    responder->Send({});
  }
  Duration PauseOf(const net::Peer& peer) override {
    if (peer.name != name_) return Duration(0);
    ++paused_;
    return pause_;
  }
  int answered() const { return answered_; }
  int paused() const { return paused_; }

 private:
  const std::string name_;
  const Duration pause_;
  std::atomic<int> answered_ = 0;
  std::atomic<int> paused_ = 0;
};

TEST_CASE("Pause: others are answered meanwhile, and a server that stops does not wait for it") {
  const TestPki pki;
  PausingHandler handler("spiffe://fl/fleet/hasty", std::chrono::hours(1));
  HttpLimits limits;
  limits.handshake = kPatience;
  const auto server = Get(HttpServer::Start("127.0.0.1", 0, pki.Server(), limits, 2, handler));
  Result<net::Response> answer = net::Response{};
  std::thread hasty([&] {
    const auto client =
        Get(HttpClient::Create("127.0.0.1", server->port(), pki.Client("hasty"), {}));
    answer = client->Exchange(kAsk, kPatience);
  });
  while (handler.paused() == 0) std::this_thread::yield();
  const auto other = Get(HttpClient::Create("127.0.0.1", server->port(), pki.Client(), {}));
  for (int i = 0; i < 3; ++i) CHECK(Get(other->Exchange(kAsk, kPatience)).status == 200);
  CHECK(handler.answered() == 3);
  CHECK(server->connections() == 2);
  const auto begin = steady_clock::now();
  server->Stop(kPatience);
  CHECK(steady_clock::now() - begin < kPatience / 2);
  hasty.join();
  CHECK(CodeOf(answer) == ErrorCode::kUnavailable);
  CHECK(handler.answered() == 3);
}

TEST_CASE("Pause: a revoked certificate ends it") {
  const TestPki pki;
  PausingHandler handler("spiffe://fl/fleet/hasty", std::chrono::hours(1));
  HttpLimits limits;
  limits.handshake = kPatience;
  const auto server = Get(HttpServer::Start("127.0.0.1", 0, pki.Server(), limits, 2, handler));
  const net::TlsFiles files = pki.Client("hasty");
  Result<net::Response> answer = net::Response{};
  std::thread hasty([&] {
    const auto client = Get(HttpClient::Create("127.0.0.1", server->port(), files, {}));
    answer = client->Exchange(kAsk, kPatience);
  });
  while (handler.paused() == 0) std::this_thread::yield();
  Get(server->Revoke(pki.Revoke({files.certificate})));
  hasty.join();
  CHECK_FALSE(answer.has_value());
  while (server->connections() > 0) std::this_thread::yield();
  CHECK(handler.answered() == 0);
}

TEST_CASE("Pause: each request of a connection waits for its own, those in one piece too") {
  PausingHandler handler("", milliseconds(20));
  const auto server = Get(HttpServer::StartLocal({}, {}, 1, handler));
  const auto begin = steady_clock::now();
  const LocalHttp client = LocalHttp::ToPort(server->port());
  client.Send(kAskText + kAskText);
  CHECK(client.Read().status == 200);
  CHECK(steady_clock::now() - begin >= milliseconds(20));
  CHECK(client.Read().status == 200);
  CHECK(steady_clock::now() - begin >= milliseconds(40));
  CHECK(handler.paused() == 2);
}

TEST_CASE("Pause: a peer that leaves meanwhile is gone at its end") {
  PausingHandler handler("", milliseconds(20));
  const auto server = Get(HttpServer::StartLocal({}, {}, 1, handler));
  {
    const LocalHttp client = LocalHttp::ToPort(server->port());
    client.Send("GET /x HTTP/1.1\r\n");
    while (handler.paused() == 0) std::this_thread::yield();
  }
  while (server->connections() > 0) std::this_thread::yield();
  CHECK(handler.answered() == 0);
}

TEST_CASE("Pause: the limit of idleness does not run meanwhile, that of a head begins then") {
  PausingHandler handler("", milliseconds(1100));
  HttpLimits limits;
  limits.handshake = std::chrono::seconds(1);  // Also until the first request.
  limits.head = milliseconds(30);
  const auto server = Get(HttpServer::StartLocal({}, limits, 1, handler));
  const LocalHttp whole = LocalHttp::ToPort(server->port());
  whole.Send(kAskText);
  const LocalHttp stalled = LocalHttp::ToPort(server->port());
  stalled.Send("GET /x HTT");
  CHECK(whole.Read().status == 200);
  CHECK(stalled.Read().status == 408);
}

}  // namespace
}  // namespace fl::testing
