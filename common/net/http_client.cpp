
#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <optional>
#include <tuple>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "fl/common/net/http.h"
#include "fl/common/net/internal/tls_setup.h"
#include "fl/common/net/internal/tls_stream.h"

namespace fl::net {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using beast::error_code;

using Parser = http::response_parser<http::empty_body>;

constexpr auto kTuple = asio::as_tuple(asio::deferred);
constexpr std::size_t kStepBytes = 64 << 10;
constexpr std::size_t kBufferBytes = 4096;

class Client final : public HttpClient {
 public:
  Client(std::string host, std::uint16_t port, internal::SslContextPtr context,
         const HttpLimits& limits)
      : host_(std::move(host)),
        port_(std::to_string(port)),
        limits_(limits),
        tls_(std::move(context)),
        deadline_(io_),
        buffer_(limits.head_bytes_max + kBufferBytes) {}

  Result<Response> Exchange(const Request& request, Duration timeout) override;
  void Cancel() override;
  std::uint64_t bytes_sent() const override { return bytes_sent_; }
  std::uint64_t bytes_received() const override { return bytes_received_; }

 private:
  using Socket = internal::TlsStream::Socket;

  asio::awaitable<void> Run(const Request& request, std::optional<Result<Response>>& result);
  asio::awaitable<Result<Response>> Perform(const Request& request);
  asio::awaitable<Result<Response>> SendAndReceive(const Request& request);
  asio::awaitable<Result<>> Connect();
  asio::awaitable<Result<>> ConnectTo(const tcp::resolver::results_type& addresses);
  asio::awaitable<Result<>> Send(const Request& request);
  asio::awaitable<Result<Response>> Receive(bool with_body);
  asio::awaitable<error_code> ReceiveHead(Parser& parser);
  asio::awaitable<Result<>> ReceiveBody(std::size_t size, Bytes& body);

  void SetDeadline(Duration timeout);
  void Close();
  Error Fail(ErrorCode code, const std::string& what) const;
  Error Fail(const error_code& error, std::string_view doing);

  const std::string host_;
  const std::string port_;
  const HttpLimits limits_;
  const internal::SslContextPtr tls_;
  asio::io_context io_{1};
  asio::steady_timer deadline_;
  std::optional<Socket> socket_;               // Empty while there is no connection.
  std::optional<internal::TlsStream> stream_;  // Over it.
  beast::flat_buffer buffer_;
  bool is_late_ = false;
  bool has_answer_begun_ = false;
  std::atomic<bool> is_cancelled_ = false;
  std::atomic<std::uint64_t> bytes_sent_ = 0;
  std::atomic<std::uint64_t> bytes_received_ = 0;
};

Error Client::Fail(ErrorCode code, const std::string& what) const {
  return Error{code, what}.At("server " + host_ + ":" + port_);
}

Error Client::Fail(const error_code& error, std::string_view doing) {
  if (is_cancelled_) return Fail(ErrorCode::kUnavailable, "cancelled");
  if (is_late_) {
    return Fail(ErrorCode::kTimeout, std::string(doing) + ": expected an end in time, found none");
  }
  if (error.category() == asio::error::get_ssl_category()) {
    const auto number = static_cast<unsigned>(error.value());
    const Error failure = internal::DescribeTlsFailure(stream_->native_handle(), number);
    return Fail(failure.code, failure.message);
  }
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return Fail(ErrorCode::kLimitExceeded, "answer: expected a head of at most " +
                                               std::to_string(limits_.head_bytes_max) +
                                               " bytes, found more");
  }
  if (error == http::error::body_limit) {
    return Fail(ErrorCode::kLimitExceeded, "answer: expected a body of at most " +
                                               std::to_string(limits_.body_bytes_max) +
                                               " bytes, found more");
  }
  const bool is_end = error == http::error::end_of_stream ||
                      error == http::error::partial_message || error == asio::error::eof ||
                      error == asio::ssl::error::stream_truncated;
  if (is_end) {
    return Fail(ErrorCode::kUnavailable,
                std::string(doing) + ": expected more, found the connection closed");
  }
  if (error.category() == http::make_error_code(http::error::bad_method).category()) {
    return Fail(ErrorCode::kMalformed, "answer: expected HTTP/1.1, found: " + error.message());
  }
  return Fail(ErrorCode::kUnavailable, std::string(doing) + ": " + error.message());
}

Result<Response> Client::Exchange(const Request& request, Duration timeout) {
  if (is_cancelled_) return Fail(ErrorCode::kUnavailable, "cancelled");
  std::optional<Result<Response>> result;
  io_.restart();
  SetDeadline(timeout);
  asio::co_spawn(io_, Run(request, result), [](const std::exception_ptr&) {});
  io_.run();
  // An answer may have overtaken the call that ends the exchange.
  if (is_cancelled_) return Fail(ErrorCode::kUnavailable, "cancelled");
  if (!result) return Fail(ErrorCode::kInternal, "the exchange ended without a result");
  return *std::move(result);
}

asio::awaitable<void> Client::Run(const Request& request, std::optional<Result<Response>>& result) {
  try {
    result = co_await Perform(request);
  } catch (const std::exception& failure) {
    result = Fail(ErrorCode::kInternal, failure.what());
  }
  if (!result->has_value()) Close();
  deadline_.cancel();
}

asio::awaitable<Result<Response>> Client::Perform(const Request& request) {
  const bool is_reused = socket_.has_value();
  for (int attempt = 0;; ++attempt) {
    if (!socket_) {
      FL_CO_TRY_OK(co_await Connect());
    }
    has_answer_begun_ = false;
    Result<Response> response = co_await SendAndReceive(request);
    if (response || !is_reused || attempt > 0 || has_answer_begun_ || is_late_ || is_cancelled_ ||
        response.error().code != ErrorCode::kUnavailable) {
      co_return response;
    }
    // The server had closed the idle connection: the request goes once more, over a new one.
    Close();
  }
}

asio::awaitable<Result<Response>> Client::SendAndReceive(const Request& request) {
  FL_CO_TRY_OK(co_await Send(request));
  co_return co_await Receive(request.method != "HEAD");
}

asio::awaitable<Result<>> Client::Connect() {
  tcp::resolver resolver(io_);
  error_code failed;
  const auto addresses = resolver.resolve(host_, port_, failed);
  if (failed) co_return Fail(failed, "looking up its name");
  Close();
  socket_.emplace(io_);
  const Result<> connected = co_await ConnectTo(addresses);
  if (!connected) Close();
  co_return connected;
}

asio::awaitable<Result<>> Client::ConnectTo(const tcp::resolver::results_type& addresses) {
  error_code failed = asio::error::host_not_found;
  for (const auto& address : addresses) {
    socket_->close(failed);
    if (is_late_ || is_cancelled_) break;
    std::tie(failed) = co_await socket_->async_connect(address.endpoint(), kTuple);
    if (!failed) break;
  }
  if (failed || is_late_ || is_cancelled_) co_return Fail(failed, "connecting");
  socket_->set_option(tcp::no_delay(true), failed);
  stream_.emplace(*socket_, tls_.get(), internal::TlsStream::Side::kClient);
  internal::SendServerName(stream_->native_handle(), host_);
  failed = co_await stream_->Handshake();
  if (failed) co_return Fail(failed, "TLS handshake");
  co_return Ok{};
}

asio::awaitable<Result<>> Client::Send(const Request& request) {
  std::string head = SerializeHead(request);
  ByteSpan body = request.body;
  const std::size_t joined = std::min(body.size(), kStepBytes);
  head.append(AsText(body.first(joined)));
  body = body.subspan(joined);
  ByteSpan step = AsBytes(head);
  while (!step.empty()) {
    const auto [error, count] = co_await stream_->Write(step);
    bytes_sent_ += count;
    if (error) co_return Fail(error, "sending");
    step = body.first(std::min(body.size(), kStepBytes));
    body = body.subspan(step.size());
  }
  co_return Ok{};
}

asio::awaitable<Result<Response>> Client::Receive(bool with_body) {
  Parser parser;
  parser.header_limit(static_cast<std::uint32_t>(limits_.head_bytes_max));
  parser.body_limit(limits_.body_bytes_max);
  parser.skip(!with_body);
  buffer_.reserve(std::min(kBufferBytes, buffer_.max_size()));
  if (const error_code error = co_await ReceiveHead(parser)) {
    co_return Fail(error, "waiting for the answer");
  }
  const auto& header = parser.get();
  Response response;
  response.status = header.result_int();
  for (const auto& field : header) {
    if (field.name() == http::field::content_length || field.name() == http::field::connection) {
      continue;
    }
    response.headers.emplace_back(field.name_string(), field.value());
  }
  const bool has_body = with_body && response.status != 204 && response.status != 304;
  if (has_body && !parser.content_length()) {
    co_return Fail(ErrorCode::kMalformed, "answer: expected Content-Length, found none");
  }
  if (has_body) {
    const auto size = static_cast<std::size_t>(*parser.content_length());
    FL_CO_TRY_OK(co_await ReceiveBody(size, response.body));
  }
  if (!parser.keep_alive()) Close();
  co_return response;
}

asio::awaitable<error_code> Client::ReceiveHead(Parser& parser) {
  while (!parser.is_header_done()) {
    error_code error;
    const std::size_t parsed = parser.put(buffer_.data(), error);
    buffer_.consume(parsed);
    bytes_received_ += parsed;
    has_answer_begun_ = parser.got_some();
    if (!error) continue;
    if (error != http::error::need_more) co_return error;
    const std::size_t room = buffer_.max_size() - buffer_.size();
    if (room == 0) co_return error_code(http::error::buffer_overflow);
    const auto [failed, count] =
        co_await stream_->ReadSome(buffer_.prepare(std::min(kBufferBytes, room)));
    buffer_.commit(count);
    has_answer_begun_ |= count > 0;
    if (failed) co_return failed;
  }
  co_return error_code();
}

asio::awaitable<Result<>> Client::ReceiveBody(std::size_t size, Bytes& body) {
  const std::size_t here = std::min(buffer_.size(), size);
  const auto* const first = static_cast<const std::byte*>(buffer_.data().data());
  body.assign(first, first + here);
  buffer_.consume(here);
  bytes_received_ += here;
  // In steps, so that a declared length alone costs no memory.
  while (body.size() < size) {
    const std::size_t at = body.size();
    body.resize(std::min(size, at + kStepBytes));
    const auto space = asio::buffer(body.data() + at, body.size() - at);
    const auto [error, count] = co_await stream_->Read(space);
    bytes_received_ += count;
    if (error) co_return Fail(error, "receiving the answer");
  }
  co_return Ok{};
}

void Client::SetDeadline(Duration timeout) {
  is_late_ = false;
  deadline_.expires_after(timeout);
  deadline_.async_wait([this](const error_code& error) {
    if (error) return;
    is_late_ = true;
    error_code ignored;
    if (socket_) socket_->close(ignored);
  });
}

void Client::Cancel() {
  is_cancelled_ = true;
  asio::post(io_, [this] {
    error_code ignored;
    if (socket_) socket_->close(ignored);
  });
}

void Client::Close() {
  stream_.reset();
  socket_.reset();
  buffer_.clear();
}

}  // namespace

Result<std::unique_ptr<HttpClient>> HttpClient::Create(const std::string& host, std::uint16_t port,
                                                       const TlsFiles& tls,
                                                       const HttpLimits& limits) {
  FL_TRY(internal::SslContextPtr context, internal::MakeClientContext(tls, host));
  return std::unique_ptr<HttpClient>(
      std::make_unique<Client>(host, port, std::move(context), limits));
}

}  // namespace fl::net
