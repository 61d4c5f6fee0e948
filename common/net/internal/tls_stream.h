#pragma once

#include <cstddef>
#include <memory>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/system/error_code.hpp>
#include <openssl/ssl.h>

#include "fl/common/base/bytes.h"

namespace fl::net::internal {

struct FreeSsl {
  void operator()(SSL* connection) const { SSL_free(connection); }
};

// TLS over a socket, which OpenSSL itself reads and writes: no buffers of our own between the two,
// so that an idle connection holds none and bytes are copied once. Errors are the socket's, or of
// Asio's SSL category with OpenSSL's number; an end of the socket's bytes where none was announced
// is stream_truncated, after which it can still be written. Thread safety: all on the socket's
// strand, one call at a time in each direction.
class TlsStream {
 public:
  using Socket = boost::asio::generic::stream_protocol::socket;
  using ErrorCode = boost::system::error_code;
  enum class Side : std::uint8_t { kClient, kServer };
  struct Count {
    ErrorCode error;
    std::size_t bytes = 0;
  };

  // `socket` must be open, and outlive it; from now on it does not block.
  TlsStream(Socket& socket, SSL_CTX* context, Side side);
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  boost::asio::awaitable<ErrorCode> Handshake();
  // At least one byte, at most a record's.
  boost::asio::awaitable<Count> ReadSome(boost::asio::mutable_buffer into);
  // Fills the buffer. `bytes` is what came.
  boost::asio::awaitable<Count> Read(boost::asio::mutable_buffer into);
  boost::asio::awaitable<Count> Write(ByteSpan bytes);

  SSL* native_handle() const { return connection_.get(); }

 private:
  struct Transport;  // What OpenSSL calls.
  // What a call that returned `code` waits for, or why it failed.
  struct Next {
    ErrorCode error;
    Socket::wait_type wait{};
  };
  Next After(int code) const;

  Socket& socket_;
  bool has_ended_ = false;  // The peer sends nothing more.
  std::unique_ptr<SSL, FreeSsl> connection_;
};

}  // namespace fl::net::internal
