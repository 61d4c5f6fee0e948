#include "fl/common/net/http.h"

#include <atomic>
#include <thread>

#include <doctest/doctest.h>

#include "fl/tests/common/net/handlers.h"
#include "fl/tests/common/net/tls_fixture.h"

namespace {

using namespace fl;           // NOLINT(google-build-using-namespace): a test.
using namespace fl::testing;  // NOLINT(google-build-using-namespace): a test.
using net::HttpClient;
using net::HttpLimits;
using net::HttpServer;
using net::Request;
using net::Response;

constexpr Duration kPatience = std::chrono::seconds(60);

std::unique_ptr<HttpServer> StartServer(const net::TlsFiles& files, net::RequestHandler& handler,
                                        HttpLimits limits = {}) {
  limits.handshake = kPatience;  // A busy machine may take its time.
  return Get(HttpServer::Start("127.0.0.1", 0, files, limits, 2, handler));
}

std::unique_ptr<HttpClient> Connect(const HttpServer& server, const net::TlsFiles& files,
                                    const std::string& host = "127.0.0.1",
                                    const HttpLimits& limits = {}) {
  return Get(HttpClient::Create(host, server.port(), files, limits));
}

Request Post(const std::string& body) {
  return {.method = "POST",
          .target = "/v1/check-in",
          .host = "localhost",
          .headers = {},
          .body = ToBytes(body)};
}

Bytes Pattern(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
  return bytes;
}

}  // namespace

TEST_CASE("HttpServer: a request reaches the handler with the name and role of its certificate") {
  const TestPki pki;
  EchoHandler handler;
  const auto server = StartServer(pki.Server(), handler);
  const auto client = Connect(*server, pki.Client());
  const Response response = Get(client->Exchange(Post("hello"), kPatience));
  CHECK(response.status == 200);
  CHECK(AsText(response.body) == "hello");
  CHECK(net::FindHeader(response.headers, "echo-peer") == "spiffe://fl/fleet/device-7");
  CHECK(net::FindHeader(response.headers, "Echo-Role") == "client");
  CHECK(net::FindHeader(response.headers, "Echo-Method") == "POST");
  CHECK(net::FindHeader(response.headers, "Echo-Target") == "/v1/check-in");
}

TEST_CASE("HttpServer: an admin certificate gives the admin role") {
  const TestPki pki;
  EchoHandler handler;
  const auto server = StartServer(pki.Server(), handler);
  const auto client = Connect(*server, pki.Issue("ada", crypto::CertificateRole::kAdmin));
  const Response response = Get(client->Exchange(Post(""), kPatience));
  CHECK(net::FindHeader(response.headers, "Echo-Peer") == "spiffe://fl/admin/ada");
  CHECK(net::FindHeader(response.headers, "Echo-Role") == "admin");
}

TEST_CASE("HttpClient: exchanges share one connection and count their bytes") {
  const TestPki pki;
  EchoHandler handler;
  const auto server = StartServer(pki.Server(), handler);
  const auto client = Connect(*server, pki.Client());
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  for (int i = 0; i < 20; ++i) {
    const Request request = Post(std::string(static_cast<std::size_t>(i) * 100, 'x'));
    const Response response = Get(client->Exchange(request, kPatience));
    CHECK(response.body == request.body);
    sent += SerializeHead(request).size() + request.body.size();
    received += SerializeHead(response).size() + response.body.size();
  }
  CHECK(server->connections() == 1);
  CHECK(client->bytes_sent() == sent);
  CHECK(client->bytes_received() == received);
}

TEST_CASE("HttpClient: bodies of a megabyte go both ways unchanged") {
  const TestPki pki;
  EchoHandler handler;
  const auto server = StartServer(pki.Server(), handler);
  const auto client = Connect(*server, pki.Client());
  for (const std::size_t size : {std::size_t{1}, std::size_t{65535}, std::size_t{65536},
                                 std::size_t{65537}, std::size_t{1} << 20}) {
    Request request = Post("");
    request.body = Pattern(size);
    const Response response = Get(client->Exchange(request, kPatience));
    CHECK(response.body == request.body);
  }
  CHECK(server->connections() == 1);
}

TEST_CASE("HttpClient: the answer to HEAD has headers and no body") {
  const TestPki pki;
  EchoHandler handler;
  const auto server = StartServer(pki.Server(), handler);
  const auto client = Connect(*server, pki.Client());
  Request request = Post("");
  request.method = "HEAD";
  for (int i = 0; i < 2; ++i) {
    const Response response = Get(client->Exchange(request, kPatience));
    CHECK(net::FindHeader(response.headers, "Echo-Method") == "HEAD");
    CHECK(response.body.empty());
  }
}

TEST_CASE("HttpServer: a body is accepted up to its limit and refused with 413 above it") {
  const TestPki pki;
  EchoHandler handler;
  HttpLimits limits;
  limits.body_bytes_max = 1000;
  const auto server = StartServer(pki.Server(), handler, limits);
  const auto client = Connect(*server, pki.Client());
  for (const std::size_t size : {std::size_t{999}, std::size_t{1000}}) {
    CHECK(Get(client->Exchange(Post(std::string(size, 'x')), kPatience)).status == 200);
  }
  CHECK(Get(client->Exchange(Post(std::string(1001, 'x')), kPatience)).status == 413);
  CHECK(handler.count() == 2);
  CHECK(Get(client->Exchange(Post("again"), kPatience)).status == 200);
}

TEST_CASE("HttpServer: a head above its limit is refused with 431") {
  const TestPki pki;
  EchoHandler handler;
  HttpLimits limits;
  limits.head_bytes_max = 512;
  const auto server = StartServer(pki.Server(), handler, limits);
  const auto client = Connect(*server, pki.Client());
  Request request = Post("");
  request.headers.emplace_back("Long", std::string(300, 'x'));
  CHECK(Get(client->Exchange(request, kPatience)).status == 200);
  request.headers.emplace_back("Longer", std::string(300, 'x'));
  CHECK(Get(client->Exchange(request, kPatience)).status == 431);
  CHECK(handler.count() == 1);
}

TEST_CASE("HttpServer: what is not HTTP is refused with 400 and chunks with 411") {
  const TestPki pki;
  EchoHandler handler;
  const auto server = StartServer(pki.Server(), handler);
  const auto client = Connect(*server, pki.Client());
  Request request = Post("");
  request.method = "PO ST";
  CHECK(Get(client->Exchange(request, kPatience)).status == 400);
  request = Post("");
  request.method = "GET";  // Its head carries no Content-Length beside the chunks.
  request.headers.emplace_back("Transfer-Encoding", "chunked");
  CHECK(Get(client->Exchange(request, kPatience)).status == 411);
  CHECK(handler.count() == 0);
}

TEST_CASE("HttpServer: a request whose body does not come in time is answered with 408") {
  const TestPki pki;
  EchoHandler handler;
  HttpLimits limits;
  limits.step = std::chrono::milliseconds(20);
  const auto server = StartServer(pki.Server(), handler, limits);
  const auto client = Connect(*server, pki.Client());
  Request request = Post("");
  request.method = "GET";
  request.headers.emplace_back("Content-Length", "5");  // And nothing follows.
  CHECK(Get(client->Exchange(request, kPatience)).status == 408);
  CHECK(handler.count() == 0);
}

TEST_CASE("HttpServer: an idle connection is closed and the client reconnects without a word") {
  const TestPki pki;
  EchoHandler handler;
  HttpLimits limits;
  limits.idle = std::chrono::milliseconds(50);
  const auto server = StartServer(pki.Server(), handler, limits);
  const auto client = Connect(*server, pki.Client());
  std::size_t answered = 0;
  for (int i = 0; i < 3; ++i) {
    answered += client->Exchange(Post("x"), kPatience).has_value() ? 1U : 0U;
    while (server->connections() > 0) std::this_thread::yield();
  }
  CHECK(answered == 3);
}

TEST_CASE("HttpServer: a responder that is dropped answers 503") {
  const TestPki pki;
  HoldingHandler handler;
  const auto server = StartServer(pki.Server(), handler);
  const auto client = Connect(*server, pki.Client());
  std::thread dropper([&] { handler.Take().reset(); });
  const auto response = client->Exchange(Post(""), kPatience);
  dropper.join();
  CHECK(Get(response).status == 503);
}

TEST_CASE("HttpClient: an answer that does not come in time is kTimeout") {
  const TestPki pki;
  HoldingHandler handler;
  const auto server = StartServer(pki.Server(), handler);
  const auto client = Connect(*server, pki.Client());
  const auto response = client->Exchange(Post(""), std::chrono::milliseconds(1));
  CHECK(CodeOf(response) == ErrorCode::kTimeout);
}

TEST_CASE("HttpClient: Cancel ends the exchange under way and each later one with kUnavailable") {
  const TestPki pki;
  HoldingHandler handler;
  const auto server = StartServer(pki.Server(), handler);
  const auto client = Connect(*server, pki.Client());
  std::thread canceller([&] {
    const auto responder = handler.Take();
    client->Cancel();
  });
  CHECK(CodeOf(client->Exchange(Post(""), kPatience)) == ErrorCode::kUnavailable);
  canceller.join();
  CHECK(CodeOf(client->Exchange(Post(""), kPatience)) == ErrorCode::kUnavailable);
}

TEST_CASE("HttpClient: an answer above the limits is kLimitExceeded") {
  const TestPki pki;
  EchoHandler handler;
  const auto server = StartServer(pki.Server(), handler);
  HttpLimits limits;
  limits.body_bytes_max = 100;
  const auto client = Connect(*server, pki.Client(), "127.0.0.1", limits);
  CHECK(Get(client->Exchange(Post(std::string(100, 'x')), kPatience)).body.size() == 100);
  CHECK(CodeOf(client->Exchange(Post(std::string(101, 'x')), kPatience)) ==
        ErrorCode::kLimitExceeded);
  limits.head_bytes_max = 64;
  const auto other = Connect(*server, pki.Client(), "127.0.0.1", limits);
  CHECK(CodeOf(other->Exchange(Post(""), kPatience)) == ErrorCode::kLimitExceeded);
}

TEST_CASE("HttpClient: a server that is not there is kUnavailable and is named") {
  const TestPki pki;
  EchoHandler handler;
  auto server = StartServer(pki.Server(), handler);
  const std::string port = std::to_string(server->port());
  const auto client = Connect(*server, pki.Client());
  server.reset();
  const auto response = client->Exchange(Post(""), kPatience);
  REQUIRE(CodeOf(response) == ErrorCode::kUnavailable);
  CHECK(response.error().message.find("127.0.0.1:" + port) != std::string::npos);
}

TEST_CASE("HttpServer: an address in use is kIo and is named") {
  const TestPki pki;
  EchoHandler handler;
  const auto server = StartServer(pki.Server(), handler);
  const auto second = HttpServer::Start("127.0.0.1", server->port(), pki.Server(), {}, 1, handler);
  REQUIRE(CodeOf(second) == ErrorCode::kIo);
  const std::string address = "127.0.0.1:" + std::to_string(server->port());
  CHECK(second.error().message.find(address) != std::string::npos);
}

TEST_CASE("HttpServer: connections above the limit are closed and fit again later") {
  const TestPki pki;
  EchoHandler handler;
  HttpLimits limits;
  limits.connections_max = 1;
  const auto server = StartServer(pki.Server(), handler, limits);
  auto first = Connect(*server, pki.Client("first"));
  const auto second = Connect(*server, pki.Client("second"));
  CHECK(Get(first->Exchange(Post("x"), kPatience)).status == 200);
  CHECK(CodeOf(second->Exchange(Post("x"), kPatience)) == ErrorCode::kUnavailable);
  first.reset();
  while (server->connections() > 0) std::this_thread::yield();
  CHECK(Get(second->Exchange(Post("x"), kPatience)).status == 200);
}

TEST_CASE("HttpServer: a peer's connections above its limit end its oldest, and nobody else's") {
  const TestPki pki;
  EchoHandler handler;
  HttpLimits limits;
  limits.connections_of_peer_max = 2;
  const auto server = StartServer(pki.Server(), handler, limits);
  const auto other = Connect(*server, pki.Client("other"));
  CHECK(Get(other->Exchange(Post("x"), kPatience)).status == 200);
  const net::TlsFiles files = pki.Client("greedy");
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(Connect(*server, files));
    CHECK(Get(clients.back()->Exchange(Post("x"), kPatience)).status == 200);
  }
  while (server->connections() > 3) std::this_thread::yield();
  CHECK(server->put_out() == 3);
  // One that was ended comes back, as the newest; places that were given back are free.
  CHECK(Get(clients[0]->Exchange(Post("x"), kPatience)).status == 200);
  while (server->connections() > 3) std::this_thread::yield();
  CHECK(server->put_out() == 4);
  clients.clear();
  while (server->connections() > 1) std::this_thread::yield();
  clients.push_back(Connect(*server, files));
  CHECK(Get(clients.back()->Exchange(Post("x"), kPatience)).status == 200);
  CHECK(server->put_out() == 4);
  CHECK(Get(other->Exchange(Post("x"), kPatience)).status == 200);
  CHECK(server->connections() == 2);
}

TEST_CASE("HttpServer: Stop lets a request under way finish") {
  const TestPki pki;
  HoldingHandler handler;
  const auto server = StartServer(pki.Server(), handler);
  const auto client = Connect(*server, pki.Client());
  std::thread stopper;
  std::thread answerer([&] {
    auto responder = handler.Take();
    stopper = std::thread([&] { server->Stop(kPatience); });
    responder->Send({.status = 201, .headers = {}, .body = ToBytes("late")});
  });
  const Response response = Get(client->Exchange(Post(""), kPatience));
  answerer.join();
  stopper.join();
  CHECK(response.status == 201);
  CHECK(AsText(response.body) == "late");
  CHECK(server->connections() == 0);
}

TEST_CASE("HttpServer: Stop ends a request that outlasts the grace and its responder is harmless") {
  const TestPki pki;
  HoldingHandler handler;
  auto server = StartServer(pki.Server(), handler);
  const auto client = Connect(*server, pki.Client());
  std::unique_ptr<net::Responder> responder;
  std::thread stopper([&] {
    responder = handler.Take();
    server->Stop(Duration(0));
  });
  CHECK(CodeOf(client->Exchange(Post(""), kPatience)) == ErrorCode::kUnavailable);
  stopper.join();
  server.reset();
  responder->Send({.status = 200, .headers = {}, .body = {}});
}

TEST_CASE("HttpServer: forty clients at once get their own answers") {
  const TestPki pki;
  EchoHandler handler;
  const auto server = StartServer(pki.Server(), handler);
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  threads.reserve(40);
  for (int i = 0; i < 40; ++i) {
    threads.emplace_back([&, i] {
      const auto client = HttpClient::Create("127.0.0.1", server->port(),
                                             pki.Client("device-" + std::to_string(i)), {});
      for (int k = 0; k < 5 && client; ++k) {
        const Request request = Post(std::to_string(i) + "/" + std::to_string(k));
        const auto response = (*client)->Exchange(request, kPatience);
        right += response && response->body == request.body ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(right == 200);
  CHECK(handler.count() == 200);
}
