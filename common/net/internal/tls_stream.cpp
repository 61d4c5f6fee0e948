#include "fl/common/net/internal/tls_stream.h"

#include <algorithm>
#include <cerrno>
#include <climits>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "fl/common/base/check.h"

namespace fl::net::internal {

namespace asio = boost::asio;

namespace {

constexpr auto kTuple = asio::as_tuple(asio::deferred);

int Clamped(std::size_t bytes) {
  return static_cast<int>(std::min<std::size_t>(bytes, INT_MAX));
}

}  // namespace

// The socket as OpenSSL sees it: never a signal for a peer that left, and never the descriptor of
// another connection, since a closed socket has none.
struct TlsStream::Transport {
  static int Read(BIO* bio, char* into, int size) {
    auto& stream = *static_cast<TlsStream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const ssize_t count =
        ::recv(stream.socket_.native_handle(), into, static_cast<std::size_t>(size), MSG_DONTWAIT);
    if (count > 0) return static_cast<int>(count);
    // Told as "later": OpenSSL would take the connection for broken in both directions.
    if (count == 0) stream.has_ended_ = true;
    const bool later = count == 0 || errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    if (later) BIO_set_retry_read(bio);
    return -1;
  }

  static int Write(BIO* bio, const char* from, int size) {
    const auto& stream = *static_cast<TlsStream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const ssize_t count = ::send(stream.socket_.native_handle(), from,
                                 static_cast<std::size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0) return static_cast<int>(count);
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) BIO_set_retry_write(bio);
    return -1;
  }

  static long Control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static int Create(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
  }

  // Lives as long as the program.
  static const BIO_METHOD* Methods() {
    static BIO_METHOD* const methods = [] {
      BIO_METHOD* const made =
          BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "a connection's socket");
      FL_CHECK(made != nullptr, "out of memory");
      BIO_meth_set_read(made, Read);
      BIO_meth_set_write(made, Write);
      BIO_meth_set_ctrl(made, Control);
      BIO_meth_set_create(made, Create);
      return made;
    }();
    return methods;
  }
};

TlsStream::TlsStream(Socket& socket, SSL_CTX* context, Side side)
    : socket_(socket), connection_(SSL_new(context)) {
  BIO* const bio = BIO_new(Transport::Methods());
  FL_CHECK(connection_ != nullptr && bio != nullptr, "out of memory");
  BIO_set_data(bio, this);
  SSL_set_bio(native_handle(), bio, bio);
  if (side == Side::kServer) {
    SSL_set_accept_state(native_handle());
  } else {
    SSL_set_connect_state(native_handle());
  }
}

TlsStream::Next TlsStream::After(int code) const {
  const ErrorCode none;
  switch (SSL_get_error(native_handle(), code)) {
    case SSL_ERROR_WANT_READ:
      return {has_ended_ ? ErrorCode(asio::ssl::error::stream_truncated) : none, Socket::wait_read};
    case SSL_ERROR_WANT_WRITE:
      return {none, Socket::wait_write};
    case SSL_ERROR_ZERO_RETURN:
      return {asio::error::eof, {}};
    case SSL_ERROR_SSL:
      return {ErrorCode(static_cast<int>(ERR_get_error()), asio::error::get_ssl_category()), {}};
    default:
      return {ErrorCode(errno != 0 ? errno : ECONNRESET, asio::error::get_system_category()), {}};
  }
}

asio::awaitable<TlsStream::ErrorCode> TlsStream::Handshake() {
  while (true) {
    ERR_clear_error();
    errno = 0;
    const int code = SSL_do_handshake(native_handle());
    if (code == 1) co_return ErrorCode();
    const Next next = After(code);
    if (next.error) co_return next.error;
    const auto [failed] = co_await socket_.async_wait(next.wait, kTuple);
    if (failed) co_return failed;
  }
}

asio::awaitable<TlsStream::Count> TlsStream::ReadSome(asio::mutable_buffer into) {
  while (true) {
    ERR_clear_error();
    errno = 0;
    const int code = SSL_read(native_handle(), into.data(), Clamped(into.size()));
    if (code > 0) co_return Count{{}, static_cast<std::size_t>(code)};
    const Next next = After(code);
    if (next.error) co_return Count{next.error, 0};
    const auto [failed] = co_await socket_.async_wait(next.wait, kTuple);
    if (failed) co_return Count{failed, 0};
  }
}

asio::awaitable<TlsStream::Count> TlsStream::Read(asio::mutable_buffer into) {
  std::size_t done = 0;
  while (done < into.size()) {
    ERR_clear_error();
    errno = 0;
    const asio::mutable_buffer rest = into + done;
    const int code = SSL_read(native_handle(), rest.data(), Clamped(rest.size()));
    if (code > 0) {
      done += static_cast<std::size_t>(code);
      continue;
    }
    const Next next = After(code);
    if (next.error) co_return Count{next.error, done};
    const auto [failed] = co_await socket_.async_wait(next.wait, kTuple);
    if (failed) co_return Count{failed, done};
  }
  co_return Count{{}, done};
}

asio::awaitable<TlsStream::Count> TlsStream::Write(ByteSpan bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    ERR_clear_error();
    errno = 0;
    const int code = SSL_write(native_handle(), bytes.data() + done, Clamped(bytes.size() - done));
    if (code > 0) {
      done += static_cast<std::size_t>(code);
      continue;
    }
    const Next next = After(code);
    if (next.error) co_return Count{next.error, done};
    const auto [failed] = co_await socket_.async_wait(next.wait, kTuple);
    if (failed) co_return Count{failed, done};
  }
  co_return Count{{}, done};
}

}  // namespace fl::net::internal
