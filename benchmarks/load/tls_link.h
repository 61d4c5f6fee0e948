#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "fl/common/base/result.h"
#include "fl/common/net/tls_files.h"

struct ssl_ctx_st;
struct ssl_st;

namespace fl::bench {

// What the load generators' connections share: TLS 1.3 and the authority. OpenSSL alone, so that
// what is measured against the server owes nothing to the server's own transport.
class TlsContext {
 public:
  static Result<TlsContext> Client(const std::string& authority);
  // Of the raw loop that transports are compared with.
  static Result<TlsContext> Server(const net::TlsFiles& files);
  ssl_ctx_st* raw() const { return context_.get(); }

 private:
  explicit TlsContext(ssl_ctx_st* context);
  std::shared_ptr<ssl_ctx_st> context_;
};

// What a call moved: bytes, or why none.
struct Moved {
  enum class State : std::uint8_t { kMoved, kAgain, kClosed };
  State state = State::kAgain;
  std::size_t bytes = 0;
};

// One TLS connection over a socket that does not block. Thread safety: one thread at a time.
class TlsLink {
 public:
  // A connection to a port of this machine, its handshake not begun. `receive_bytes`: the size of
  // the socket's receive buffer, 0: the system's. kIo.
  static Result<TlsLink> Connect(const TlsContext& context, std::uint16_t port,
                                 const std::string& certificate, const crypto::Secret& key,
                                 int receive_bytes = 0);
  // The same with a socket that blocks.
  static Result<TlsLink> ConnectBlocking(const TlsContext& context, std::uint16_t port,
                                         const std::string& certificate, const crypto::Secret& key);
  // The server's end of an accepted socket, which it takes over.
  static TlsLink Accept(const TlsContext& context, int socket);

  TlsLink(TlsLink&& other) noexcept;
  TlsLink& operator=(TlsLink&& other) noexcept;
  TlsLink(const TlsLink&) = delete;
  TlsLink& operator=(const TlsLink&) = delete;
  ~TlsLink();

  Moved Handshake();
  Moved Write(ByteSpan bytes);
  Moved Read(std::span<std::byte> into);
  int socket() const { return socket_; }
  bool is_open() const { return tls_ != nullptr; }
  void Close();

 private:
  static Result<TlsLink> Open(const TlsContext& context, std::uint16_t port,
                              const std::string& certificate, const crypto::Secret& key,
                              int receive_bytes);
  TlsLink(ssl_st* tls, int socket) : tls_(tls), socket_(socket) {}
  Moved Outcome(int code);

  ssl_st* tls_ = nullptr;
  int socket_ = -1;
};

}  // namespace fl::bench
