#include <optional>
#include <thread>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <doctest/doctest.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "fl/common/net/http.h"
#include "fl/tests/common/net/handlers.h"
#include "fl/tests/common/net/tls_fixture.h"

namespace {

using namespace fl;           // NOLINT(google-build-using-namespace): a test.
using namespace fl::testing;  // NOLINT(google-build-using-namespace): a test.
namespace asio = boost::asio;
using crypto::CertificateRole;

constexpr Duration kPatience = std::chrono::seconds(60);

// A server and the answer to one request that is made with the given files.
struct Meeting {
  explicit Meeting(const net::TlsFiles& server_files)
      : server(Get(net::HttpServer::Start("127.0.0.1", 0, server_files, {}, 2, handler))) {}

  Result<net::Response> Ask(const net::TlsFiles& files, const std::string& host = "127.0.0.1") {
    const auto client = Get(net::HttpClient::Create(host, server->port(), files, {}));
    return client->Exchange(
        {.method = "GET", .target = "/", .host = host, .headers = {}, .body = {}}, kPatience);
  }

  EchoHandler handler;
  std::unique_ptr<net::HttpServer> server;
};

net::TlsFiles Copy(const net::TlsFiles& files) {
  net::TlsFiles copy;
  copy.authority = files.authority;
  copy.certificate = files.certificate;
  copy.key = crypto::Secret::Copy(files.key.bytes());
  copy.revoked = files.revoked;
  return copy;
}

// What a bare TLS client without our checks reads from the server after it has sent `text`: at most
// `size` bytes, or an error.
struct Read {
  std::string text;
  boost::system::error_code failed;
};
Read TalkBare(std::uint16_t port, asio::ssl::context& context, const std::string& text,
              std::size_t size) {
  asio::io_context io;
  asio::ssl::stream<asio::ip::tcp::socket> stream(io, context);
  Read read;
  stream.next_layer().connect({asio::ip::make_address("127.0.0.1"), port}, read.failed);
  if (!read.failed) stream.handshake(asio::ssl::stream_base::client, read.failed);
  if (!read.failed) asio::write(stream, asio::buffer(text), read.failed);
  read.text.resize(size);
  std::size_t count = 0;
  if (!read.failed) count = asio::read(stream, asio::buffer(read.text), read.failed);
  read.text.resize(count);
  return read;
}

boost::system::error_code AskBare(std::uint16_t port, asio::ssl::context& context) {
  return TalkBare(port, context, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1).failed;
}

// Asks once and keeps what the server gave for a later resumption, or asks with what was kept
// before; says whether the server took it. Nothing for a connection without an answer.
using SessionPtr = std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)>;
std::optional<bool> AskResuming(std::uint16_t port, asio::ssl::context& context,
                                SessionPtr& session) {
  asio::io_context io;
  asio::ssl::stream<asio::ip::tcp::socket> stream(io, context);
  boost::system::error_code failed;
  if (session != nullptr) SSL_set_session(stream.native_handle(), session.get());
  stream.next_layer().connect({asio::ip::make_address("127.0.0.1"), port}, failed);
  if (!failed) stream.handshake(asio::ssl::stream_base::client, failed);
  const std::string text = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  if (!failed) asio::write(stream, asio::buffer(text), failed);
  // What a server gives for resumption comes before its first answer.
  char letter = 0;
  if (!failed) asio::read(stream, asio::buffer(&letter, 1), failed);
  if (failed) return std::nullopt;
  session.reset(SSL_get1_session(stream.native_handle()));
  return SSL_session_reused(stream.native_handle()) == 1;
}

// The certificate with another extended key usage, signed anew by the authority.
std::string WithUsage(const TestPki& pki, const std::string& pem, const char* usage) {
  const auto read = [](std::string_view text) {
    return BIO_new_mem_buf(text.data(), static_cast<int>(text.size()));
  };
  BIO* const in = read(pem);
  X509* const certificate = PEM_read_bio_X509(in, nullptr, nullptr, nullptr);
  const crypto::Secret key_text = pki.authority().KeyToPem();
  BIO* const key_in = read(key_text.text());
  EVP_PKEY* const key = PEM_read_bio_PrivateKey(key_in, nullptr, nullptr, nullptr);
  const int at = X509_get_ext_by_NID(certificate, NID_ext_key_usage, -1);
  REQUIRE(at >= 0);
  X509_EXTENSION_free(X509_delete_ext(certificate, at));
  X509_EXTENSION* const other = X509V3_EXT_conf_nid(nullptr, nullptr, NID_ext_key_usage, usage);
  X509_add_ext(certificate, other, -1);
  REQUIRE(X509_sign(certificate, key, EVP_sha256()) > 0);
  BIO* const out = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(out, certificate);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out, &text);
  std::string signed_anew(text, static_cast<std::size_t>(size));
  X509_EXTENSION_free(other);
  X509_free(certificate);
  EVP_PKEY_free(key);
  BIO_free(in);
  BIO_free(key_in);
  BIO_free(out);
  return signed_anew;
}

void UseFiles(asio::ssl::context& context, const net::TlsFiles& files) {
  const std::string key(files.key.text());
  context.use_certificate(asio::buffer(files.certificate), asio::ssl::context::pem);
  context.use_private_key(asio::buffer(key), asio::ssl::context::pem);
}

}  // namespace

TEST_CASE("TLS: the server refuses a certificate of another authority") {
  const TestPki pki;
  const TestPki foreign;
  Meeting meeting(pki.Server());
  net::TlsFiles files = foreign.Client();
  files.authority = pki.authority().certificate();
  const auto response = meeting.Ask(files);
  REQUIRE(CodeOf(response) == ErrorCode::kUnauthorized);
  CHECK(response.error().message.find("refuses our certificate") != std::string::npos);
  CHECK(meeting.handler.count() == 0);
}

TEST_CASE("TLS: the client refuses a server of another authority") {
  const TestPki pki;
  const TestPki foreign;
  Meeting meeting(pki.Server());
  CHECK(CodeOf(meeting.Ask(foreign.Client())) == ErrorCode::kUnauthorized);
  CHECK(meeting.handler.count() == 0);
}

TEST_CASE("TLS: the server refuses an expired certificate and one that is not valid yet") {
  const TestPki pki;
  Meeting meeting(pki.Server());
  const TimePoint now = NowForTests();
  using std::chrono::hours;
  const auto past = pki.Issue("old", CertificateRole::kClient, {now - hours(2), now - hours(1)});
  const auto future = pki.Issue("new", CertificateRole::kClient, {now + hours(1), now + hours(2)});
  CHECK(CodeOf(meeting.Ask(past)) == ErrorCode::kUnauthorized);
  CHECK(CodeOf(meeting.Ask(future)) == ErrorCode::kUnauthorized);
  CHECK(meeting.handler.count() == 0);
}

TEST_CASE("TLS: the server refuses a server's certificate as a client's") {
  const TestPki pki;
  Meeting meeting(pki.Server());
  CHECK(CodeOf(meeting.Ask(pki.Server())) == ErrorCode::kUnauthorized);
  CHECK(meeting.handler.count() == 0);
}

TEST_CASE("TLS: a device's name with another purpose than a client's is refused") {
  const TestPki pki;
  Meeting meeting(pki.Server());
  net::TlsFiles files = pki.Client();
  const std::string good = files.certificate;
  for (const char* const usage : {"critical,serverAuth", "critical,codeSigning"}) {
    files.certificate = WithUsage(pki, good, usage);
    CHECK(CodeOf(meeting.Ask(files)) == ErrorCode::kUnauthorized);
  }
  CHECK(meeting.handler.count() == 0);
  files.certificate = WithUsage(pki, good, "critical,clientAuth");
  CHECK(CodeOf(meeting.Ask(files)) == ErrorCode::kOk);
}

TEST_CASE("TLS: the client refuses a device's certificate as a server's") {
  const TestPki pki;
  Meeting meeting(pki.Client());
  CHECK(CodeOf(meeting.Ask(pki.Client())) == ErrorCode::kUnauthorized);
  CHECK(meeting.handler.count() == 0);
}

TEST_CASE("TLS: the client refuses a server under another name or address") {
  const TestPki pki;
  Meeting named(pki.Server({"fl.example", "localhost"}));
  CHECK(CodeOf(named.Ask(pki.Client(), "127.0.0.1")) == ErrorCode::kUnauthorized);
  CHECK(CodeOf(named.Ask(pki.Client(), "localhost")) == ErrorCode::kOk);
  Meeting other(pki.Server({"10.0.0.1", "fl.example"}));
  CHECK(CodeOf(other.Ask(pki.Client(), "127.0.0.1")) == ErrorCode::kUnauthorized);
  CHECK(CodeOf(other.Ask(pki.Client(), "localhost")) == ErrorCode::kUnauthorized);
  CHECK(other.handler.count() == 0);
}

TEST_CASE("TLS: the server refuses a revoked certificate and accepts the others") {
  const TestPki pki;
  const net::TlsFiles good = pki.Client("good");
  const net::TlsFiles bad = pki.Client("bad");
  net::TlsFiles files = pki.Server();
  files.revoked = pki.Revoke({bad.certificate});
  Meeting meeting(files);
  CHECK(CodeOf(meeting.Ask(bad)) == ErrorCode::kUnauthorized);
  CHECK(CodeOf(meeting.Ask(good)) == ErrorCode::kOk);
  CHECK(meeting.handler.count() == 1);
}

TEST_CASE("TLS: a revocation closes the live connection of its client alone") {
  const TestPki pki;
  const net::TlsFiles good = pki.Client("good");
  const net::TlsFiles bad = pki.Client("bad");
  Meeting meeting(pki.Server());
  const net::Request request{
      .method = "GET", .target = "/", .host = "x", .headers = {}, .body = {}};
  const auto stays = Get(net::HttpClient::Create("127.0.0.1", meeting.server->port(), good, {}));
  const auto leaves = Get(net::HttpClient::Create("127.0.0.1", meeting.server->port(), bad, {}));
  CHECK(Get(stays->Exchange(request, kPatience)).status == 200);
  CHECK(Get(leaves->Exchange(request, kPatience)).status == 200);
  REQUIRE(meeting.server->connections() == 2);
  REQUIRE(meeting.server->Revoke(pki.Revoke({bad.certificate})));
  while (meeting.server->connections() > 1) std::this_thread::yield();
  CHECK(CodeOf(leaves->Exchange(request, kPatience)) == ErrorCode::kUnauthorized);
  CHECK(Get(stays->Exchange(request, kPatience)).status == 200);
}

TEST_CASE("TLS: no session is resumed, and one from before a revocation opens nothing after it") {
  const TestPki pki;
  const net::TlsFiles files = pki.Client("leaves");
  Meeting meeting(pki.Server());
  asio::ssl::context context(asio::ssl::context::tls_client);
  UseFiles(context, files);
  SSL_CTX_set_session_cache_mode(context.native_handle(), SSL_SESS_CACHE_CLIENT);
  SessionPtr session(nullptr, &SSL_SESSION_free);
  const std::uint16_t port = meeting.server->port();
  CHECK(AskResuming(port, context, session) == false);
  REQUIRE(session != nullptr);
  CHECK(AskResuming(port, context, session) == false);
  CHECK(meeting.handler.count() == 2);
  REQUIRE(meeting.server->Revoke(pki.Revoke({files.certificate})));
  CHECK(AskResuming(port, context, session) == std::nullopt);
  CHECK(meeting.handler.count() == 2);
}

TEST_CASE("TLS: a revocation list that the authority did not sign is refused") {
  const TestPki pki;
  const TestPki foreign;
  net::TlsFiles files = pki.Server();
  files.revoked = foreign.Revoke({});
  EchoHandler handler;
  const auto refused = net::HttpServer::Start("127.0.0.1", 0, files, {}, 1, handler);
  CHECK(CodeOf(refused) == ErrorCode::kUnauthorized);
  Meeting meeting(pki.Server());
  CHECK(CodeOf(meeting.server->Revoke(foreign.Revoke({}))) == ErrorCode::kUnauthorized);
  CHECK(CodeOf(meeting.server->Revoke("nonsense")) == ErrorCode::kMalformed);
}

TEST_CASE("TLS: a client without a certificate reaches no handler") {
  const TestPki pki;
  Meeting meeting(pki.Server());
  asio::ssl::context context(asio::ssl::context::tls_client);
  CHECK(AskBare(meeting.server->port(), context));
  CHECK(meeting.handler.count() == 0);
}

TEST_CASE(
    "TLS: a client that speaks no more than TLS 1.2 is refused and one of TLS 1.3 is served") {
  const TestPki pki;
  Meeting meeting(pki.Server());
  const net::TlsFiles files = pki.Client();
  asio::ssl::context old(asio::ssl::context::tls_client);
  UseFiles(old, files);
  SSL_CTX_set_max_proto_version(old.native_handle(), TLS1_2_VERSION);
  CHECK(AskBare(meeting.server->port(), old));
  CHECK(meeting.handler.count() == 0);
  asio::ssl::context current(asio::ssl::context::tls_client);
  UseFiles(current, files);
  CHECK_FALSE(AskBare(meeting.server->port(), current));
  CHECK(meeting.handler.count() == 1);
}

TEST_CASE("HttpServer: requests that arrive in one piece are answered one after the other") {
  const TestPki pki;
  Meeting meeting(pki.Server());
  asio::ssl::context context(asio::ssl::context::tls_client);
  UseFiles(context, pki.Client());
  const std::string first = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
  const std::string last = "GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  const Read read = TalkBare(meeting.server->port(), context, first + last, 1 << 16);
  const std::size_t one = read.text.find("Echo-Target: /a\r\n");
  const std::size_t body = read.text.find("\r\n\r\nabcHTTP/1.1 200 OK\r\n");
  const std::size_t two = read.text.find("Echo-Target: /b\r\n");
  CHECK(one < body);
  CHECK(body < two);
  CHECK(two < read.text.find("Connection: close\r\n"));
  CHECK(meeting.handler.count() == 2);
}

TEST_CASE("HttpServer: a client that waits to be told to continue is told so") {
  const TestPki pki;
  Meeting meeting(pki.Server());
  asio::ssl::context context(asio::ssl::context::tls_client);
  UseFiles(context, pki.Client());
  const std::string expected = "HTTP/1.1 100 Continue\r\n\r\n";
  const std::string head =
      "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
  CHECK(TalkBare(meeting.server->port(), context, head, expected.size()).text == expected);
}

TEST_CASE("TLS: a peer that speaks no TLS is dropped and the server goes on") {
  const TestPki pki;
  Meeting meeting(pki.Server());
  asio::io_context io;
  asio::ip::tcp::socket socket(io);
  socket.connect({asio::ip::make_address("127.0.0.1"), meeting.server->port()});
  asio::write(socket, asio::buffer(std::string("GET / HTTP/1.1\r\n\r\n")));
  boost::system::error_code ended;
  std::string answer(4096, '\0');
  asio::read(socket, asio::buffer(answer), ended);
  CHECK(ended == asio::error::eof);
  CHECK(CodeOf(meeting.Ask(pki.Client())) == ErrorCode::kOk);
  CHECK(meeting.handler.count() == 1);
}

TEST_CASE("TLS: a connection that never begins its handshake is closed at the deadline") {
  const TestPki pki;
  EchoHandler handler;
  net::HttpLimits limits;
  limits.handshake = std::chrono::milliseconds(20);
  const auto server = Get(net::HttpServer::Start("127.0.0.1", 0, pki.Server(), limits, 1, handler));
  asio::io_context io;
  asio::ip::tcp::socket socket(io);
  socket.connect({asio::ip::make_address("127.0.0.1"), server->port()});
  char letter = 0;
  boost::system::error_code ended;
  asio::read(socket, asio::buffer(&letter, 1), ended);
  CHECK(ended == asio::error::eof);
}

TEST_CASE("TLS: files that do not make an end are refused by both sides") {
  const TestPki pki;
  EchoHandler handler;
  const net::TlsFiles good = pki.Server();
  const auto start = [&](const net::TlsFiles& files) {
    return CodeOf(net::HttpServer::Start("127.0.0.1", 0, files, {}, 1, handler));
  };
  net::TlsFiles files = Copy(good);
  files.authority = "nonsense";
  CHECK(start(files) == ErrorCode::kMalformed);
  files = Copy(good);
  files.certificate.clear();
  CHECK(start(files) == ErrorCode::kMalformed);
  files = Copy(good);
  files.key = crypto::Secret::Copy(AsBytes("nonsense"));
  CHECK(start(files) == ErrorCode::kMalformed);
  files.key = {};
  CHECK(start(files) == ErrorCode::kMalformed);
  files = Copy(good);
  files.key = crypto::PrivateKey::Generate().ToPem();
  CHECK(start(files) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(net::HttpClient::Create("localhost", 1, files, {})) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(net::HttpClient::Create("", 1, good, {})) == ErrorCode::kInvalidArgument);
}
