#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "fl/common/base/clock.h"
#include "fl/common/net/message.h"
#include "fl/common/net/tls_files.h"

// TLS 1.3 with certificates on both sides, HTTP/1.1 keep-alive over it. No Asio or Beast type shows
// here.
namespace fl::net {

struct HttpLimits {
  std::size_t head_bytes_max = 8192;
  std::size_t body_bytes_max = (1U << 20) + 4096;
  Duration handshake = std::chrono::seconds(5);
  Duration read = std::chrono::seconds(30);  // From a request's first byte to its last.
  Duration idle = std::chrono::seconds(90);  // Between requests.
  Duration write = std::chrono::seconds(30);
  std::size_t connections_max = 10000;
};

// Sends one answer; may be called once, from any thread; dropped without a call it answers 503.
class Responder {
 public:
  virtual ~Responder() = default;
  virtual void Send(Response response) = 0;
};

class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  // On an I/O thread: must not block. `peer` comes from a verified certificate.
  virtual void OnRequest(Peer peer, Request request, std::unique_ptr<Responder> responder) = 0;
};

// Thread safety: Stop from any thread.
class HttpServer {
 public:
  virtual ~HttpServer() = default;
  // Binds and listens (port 0: any free one) and serves on its own threads. kIo when the address is
  // in use, with the address in the message; `handler` must outlive the server.
  static Result<std::unique_ptr<HttpServer>> Start(const std::string& host, std::uint16_t port,
                                                   const TlsFiles& tls, const HttpLimits& limits,
                                                   std::size_t threads, RequestHandler& handler);
  virtual std::uint16_t port() const = 0;
  // Stops accepting, lets requests under way finish until the grace period is over, then closes
  // all.
  virtual void Stop(Duration grace) = 0;
};

// One keep-alive connection to one server, opened when first needed and again after a failure.
// Thread safety: one exchange at a time; Cancel from any thread.
class HttpClient {
 public:
  virtual ~HttpClient() = default;
  static Result<std::unique_ptr<HttpClient>> Create(const std::string& host, std::uint16_t port,
                                                    const TlsFiles& tls, const HttpLimits& limits);
  // Blocks until the whole answer is there. kUnavailable when the server cannot be reached or hangs
  // up, kTimeout, kUnauthorized when TLS refuses a certificate, kMalformed, kLimitExceeded.
  virtual Result<Response> Exchange(const Request& request, Duration timeout) = 0;
  // Makes the exchange under way, and each later one, fail with kUnavailable.
  virtual void Cancel() = 0;
  // Bytes above TLS since the start, heads included.
  virtual std::uint64_t bytes_sent() const = 0;
  virtual std::uint64_t bytes_received() const = 0;
};

}  // namespace fl::net
