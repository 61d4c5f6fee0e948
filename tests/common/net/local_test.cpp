#include <filesystem>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/common/net/handlers.h"
#include "fl/tests/support/local_http.h"
#include "fl/tests/support/process.h"
#include "fl/tests/support/result.h"
#include "fl/tests/support/temporary_folder.h"

namespace {

using namespace fl;           // NOLINT(google-build-using-namespace): a test.
using namespace fl::testing;  // NOLINT(google-build-using-namespace): a test.
using net::HttpLimits;
using net::HttpServer;

constexpr Duration kPatience = std::chrono::seconds(60);

std::string Target(const HttpAnswer& answer) {
  const std::string name = "Echo-Target: ";
  const std::size_t at = answer.head.find(name);
  return at == std::string::npos ? "" : answer.head.substr(at + name.size(), 1);
}

TEST_CASE("HttpServer::StartLocal: a loopback port takes requests one after the other") {
  EchoHandler handler;
  const auto server = Get(HttpServer::StartLocal({}, {}, 1, handler));
  REQUIRE(server->port() != 0);
  const LocalHttp client = LocalHttp::ToPort(server->port());
  for (const std::size_t size : {0U, 1U, 4096U, 65537U, 1U << 20}) {
    const std::string body(size, 'x');
    const HttpAnswer answer = client.Ask("POST", "/", body);
    CHECK(answer.status == 200);
    CHECK(answer.body == body);
    CHECK(answer.head.find("Echo-Peer: \r\n") != std::string::npos);
  }
  CHECK(server->connections() == 1);
}

TEST_CASE("HttpServer::StartLocal: requests that come in one piece are answered in order") {
  EchoHandler handler;
  const auto server = Get(HttpServer::StartLocal({}, {}, 1, handler));
  const LocalHttp client = LocalHttp::ToPort(server->port());
  client.Send("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
  CHECK(Eventually(60, [&] { return handler.count() == 2; }));
  CHECK(client.Read().head.find("Echo-Target: /1") != std::string::npos);
}

TEST_CASE("HttpServer::StartLocal: a head that comes byte by byte is read") {
  EchoHandler handler;
  const auto server = Get(HttpServer::StartLocal({}, {}, 1, handler));
  const LocalHttp client = LocalHttp::ToPort(server->port());
  for (const char letter : std::string("POST /5 HTTP/1.1\r\nContent-Length: 2\r\n\r\nab")) {
    client.Send(std::string(1, letter));
  }
  const HttpAnswer answer = client.Read();
  CHECK(answer.status == 200);
  CHECK(answer.body == "ab");
  CHECK(Target(answer) == "/");
}

TEST_CASE("HttpServer::StartLocal: heads and bodies above the limits are refused") {
  EchoHandler handler;
  HttpLimits limits;
  limits.body_bytes_max = 1000;
  limits.head_bytes_max = 300;
  const auto server = Get(HttpServer::StartLocal({}, limits, 1, handler));
  const auto ask = [&](const std::string& body, const std::string& headers) {
    return LocalHttp::ToPort(server->port()).Ask("POST", "/", body, headers).status;
  };
  CHECK(ask(std::string(1000, 'x'), "") == 200);
  CHECK(ask(std::string(1001, 'x'), "") == 413);
  CHECK(ask("", "Long: " + std::string(200, 'x') + "\r\n") == 200);
  CHECK(ask("", "Long: " + std::string(300, 'x') + "\r\n") == 431);
  CHECK(ask("", "Long: " + std::string(100'000, 'x') + "\r\n") == 431);
  CHECK(ask("", "Transfer-Encoding: chunked\r\n") == 400);
  CHECK(handler.count() == 2);
}

TEST_CASE("HttpServer::StartLocal: an address that others reach is refused") {
  EchoHandler handler;
  for (const char* host : {"0.0.0.0", "::", "192.0.2.1"}) {
    CAPTURE(host);
    const auto server = HttpServer::StartLocal({{}, host, 0}, {}, 1, handler);
    REQUIRE(CodeOf(server) == ErrorCode::kInvalidArgument);
    CHECK(server.error().message.find("loopback") != std::string::npos);
  }
}

TEST_CASE("HttpServer::StartLocal: a Unix socket is the owner's alone and goes with its server") {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "socket").string();
  EchoHandler handler;
  auto server = Get(HttpServer::StartLocal({path, {}, 0}, {}, 1, handler));
  CHECK(server->port() == 0);
  CHECK(std::filesystem::status(path).permissions() == std::filesystem::perms(0600));
  CHECK(LocalHttp::ToPath(path).Ask("POST", "/", "hello").body == "hello");
  const auto second = HttpServer::StartLocal({path, {}, 0}, {}, 1, handler);
  REQUIRE(CodeOf(second) == ErrorCode::kIo);
  CHECK(second.error().message.find(path) != std::string::npos);
  server.reset();
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("HttpServer::StartLocal: the socket of a dead server is replaced, other files stay") {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "socket").string();
  EchoHandler handler;
  {
    const int left = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    REQUIRE(::bind(left, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    ::close(left);
  }
  REQUIRE(std::filesystem::exists(path));
  const auto server = Get(HttpServer::StartLocal({path, {}, 0}, {}, 1, handler));
  CHECK(LocalHttp::ToPath(path).Ask("GET", "/").status == 200);

  const std::string file = (folder.path() / "file").string();
  WriteText(file, "kept");
  CHECK(CodeOf(HttpServer::StartLocal({file, {}, 0}, {}, 1, handler)) ==
        ErrorCode::kInvalidArgument);
  CHECK(ReadText(file) == "kept");
  const std::string long_path = (folder.path() / std::string(200, 'x')).string();
  CHECK(CodeOf(HttpServer::StartLocal({long_path, {}, 0}, {}, 1, handler)) ==
        ErrorCode::kInvalidArgument);
}

TEST_CASE("HttpServer::StartLocal: Stop lets a request under way finish") {
  HoldingHandler handler;
  const auto server = Get(HttpServer::StartLocal({}, {}, 2, handler));
  const LocalHttp client = LocalHttp::ToPort(server->port());
  client.Send("GET / HTTP/1.1\r\n\r\n");
  auto responder = handler.Take();
  std::thread stopper([&] { server->Stop(kPatience); });
  responder->Send({.status = 201, .headers = {}, .body = ToBytes("late")});
  const HttpAnswer answer = client.Read();
  stopper.join();
  CHECK(answer.status == 201);
  CHECK(answer.body == "late");
}

}  // namespace
