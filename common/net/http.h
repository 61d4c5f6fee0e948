#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "fl/common/base/clock.h"
#include "fl/common/net/message.h"
#include "fl/common/net/tls_files.h"

// TLS 1.3 with certificates on both sides, HTTP/1.1 keep-alive over it; without TLS only for
// programs of the same machine. No Asio or Beast type shows here.
namespace fl::net {

struct HttpLimits {
  std::size_t head_bytes_max = 8192;
  std::size_t body_bytes_max = (1U << 20) + 4096;
  Duration handshake = std::chrono::seconds(5);  // And once more until the first request.
  Duration head = std::chrono::seconds(8);       // From a request's first byte to its head's last.
  // For each 64 KiB, or what is left, of a request's body and of an answer: links of 8 KiB a second
  // pass, and what stalls does not.
  Duration step = std::chrono::seconds(8);
  Duration idle = std::chrono::seconds(90);  // Between requests.
  std::size_t connections_max = 20000;
  std::size_t connections_of_peer_max = 16;  // Of one certificate's name; one more ends its oldest.
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
  // On an I/O thread: must not block. `peer` comes from a verified certificate; from StartLocal's
  // servers it has no name.
  virtual void OnRequest(Peer peer, Request request, std::unique_ptr<Responder> responder) = 0;
  // How long the server is to leave the request unread whose first bytes have come from this peer;
  // asked once for each, on an I/O thread. Meanwhile the connection costs nothing but its place; a
  // peer that leaves is noticed at the end, so it should be short.
  virtual Duration PauseOf(const Peer& /*peer*/) { return Duration(0); }
};

// Where programs of this machine, and no others, reach a server: a Unix socket, or where `path` is
// empty a port of a loopback address.
struct LocalEndpoint {
  std::string path;  // A socket of mode 0600; one that a dead server left is replaced.
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  // 0: any free one.
};

// HTTP/1.1 over TLS 1.3. A connection without a valid certificate (signed by the CA, not expired,
// not revoked, for TLS clients, with one of our URIs) ends in the handshake: none of its requests
// reaches the handler. The server itself answers 400, 408, 411, 413, 431 and 503, without a body,
// and closes the connection. Stop waits for no pause. Thread safety: all members from any thread,
// except that Stop and the destructor may not run inside OnRequest.
class HttpServer {
 public:
  virtual ~HttpServer() = default;
  // Binds and listens (port 0: any free one) and serves on its own threads. kIo when the address is
  // in use, with the address in the message; `handler` must outlive the server.
  static Result<std::unique_ptr<HttpServer>> Start(const std::string& host, std::uint16_t port,
                                                   const TlsFiles& tls, const HttpLimits& limits,
                                                   std::size_t threads, RequestHandler& handler);
  // The same without TLS and certificates. kInvalidArgument for an address that is not a loopback
  // one and for a path that is too long or names something else than a socket; kIo.
  static Result<std::unique_ptr<HttpServer>> StartLocal(const LocalEndpoint& where,
                                                        const HttpLimits& limits,
                                                        std::size_t threads,
                                                        RequestHandler& handler);
  // Of the bound address; 0 for a Unix socket.
  virtual std::uint16_t port() const = 0;
  // Takes a newer revocation list (PEM, signed by the CA) and closes the connections whose
  // certificates it names. On an error the old list stays.
  virtual Result<> Revoke(const std::string& revoked) = 0;
  // Connections that are open now.
  virtual std::size_t connections() const = 0;
  // Connections that were ended because their peer had opened too many others.
  virtual std::uint64_t put_out() const = 0;
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
  // up, kTimeout, kUnauthorized when one side refuses the other's certificate, kMalformed,
  // kLimitExceeded. When an idle connection turns out to be closed, the request is sent once more
  // over a new one.
  virtual Result<Response> Exchange(const Request& request, Duration timeout) = 0;
  // Makes the exchange under way, and each later one, fail with kUnavailable.
  virtual void Cancel() = 0;
  // Bytes above TLS since the start, heads included.
  virtual std::uint64_t bytes_sent() const = 0;
  virtual std::uint64_t bytes_received() const = 0;
};

}  // namespace fl::net
