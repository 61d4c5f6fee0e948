#include "fl/common/net/internal/http_session.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace fl::net::internal {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Parser = http::request_parser<http::empty_body>;

namespace {

constexpr auto kTuple = asio::as_tuple(asio::deferred);
constexpr std::size_t kStepBytes = 64 << 10;
// Kept between requests. A smaller buffer would grow from 512 bytes, read by read.
constexpr std::size_t kBufferBytes = 4096;
// What the system takes of an answer beyond what the peer has room for: more would only hide that
// it does not read.
constexpr int kUnsentBytes = 128 << 10;
// How long a refused peer's bytes are read and dropped, so that a reset does not overtake the
// answer.
constexpr auto kLinger = std::chrono::seconds(1);

std::chrono::steady_clock::time_point Now() {
  return std::chrono::steady_clock::now();
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return beast::iequals(a, b);
}

// What stands in Request::headers: all but what frames the message.
bool IsFraming(http::field name) {
  return name == http::field::host || name == http::field::content_length ||
         name == http::field::connection || name == http::field::transfer_encoding ||
         name == http::field::expect;
}

Request ToRequest(const http::request_header<>& header) {
  Request request;
  request.method = header.method_string();
  request.target = header.target();
  request.host = header[http::field::host];
  for (const auto& field : header) {
    if (IsFraming(field.name())) continue;
    request.headers.emplace_back(field.name_string(), field.value());
  }
  return request;
}

// The status that answers a head which the parser refused; 0 for a connection that broke.
unsigned StatusOf(const beast::error_code& error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) return 431;
  if (error == http::error::body_limit) return 413;
  return error.category() == http::make_error_code(http::error::bad_method).category() ? 400 : 0;
}

}  // namespace

void HttpSession::AnswerSlot::Put(Response answer) {
  const std::lock_guard lock(mutex_);
  if (session_ == nullptr) return;
  asio::post(session_->socket_.get_executor(),
             [session = session_->shared_from_this(), kept = std::move(answer)]() mutable {
               session->answer_ = std::move(kept);
               session->wake_.cancel();
             });
}

void HttpSession::AnswerSlot::Close() {
  const std::lock_guard lock(mutex_);
  session_ = nullptr;
}

class HttpSession::SessionResponder final : public Responder {
 public:
  explicit SessionResponder(std::shared_ptr<AnswerSlot> slot) : slot_(std::move(slot)) {}
  SessionResponder(const SessionResponder&) = delete;
  SessionResponder& operator=(const SessionResponder&) = delete;
  ~SessionResponder() override {  // NOLINT(bugprone-exception-escape): out of memory.
    if (slot_ != nullptr) slot_->Put({.status = 503, .headers = {}, .body = {}});
  }
  void Send(Response response) override {
    FL_CHECK(slot_ != nullptr, "a responder answers once");
    std::exchange(slot_, nullptr)->Put(std::move(response));
  }

 private:
  std::shared_ptr<AnswerSlot> slot_;
};

HttpSession::HttpSession(Socket socket, asio::ssl::context* tls, const Shared& shared)
    : socket_(std::move(socket)),
      limits_(shared.limits),
      handler_(shared.handler),
      revocations_(shared.revocations),
      places_(shared.places),
      buffer_(limits_.head_bytes_max + kBufferBytes),
      deadline_(socket_.get_executor()),
      wake_(socket_.get_executor(), Instant::max()),
      slot_(std::make_shared<AnswerSlot>(*this)) {
  if (tls != nullptr) tls_.emplace(socket_, tls->native_handle(), TlsStream::Side::kServer);
  buffer_.reserve(std::min(kBufferBytes, buffer_.max_size()));
}

asio::awaitable<void> HttpSession::Run() {
  try {
    if (co_await Handshake()) {
      while (co_await ServeOne()) continue;
    }
  } catch (const std::exception&) {
    // Out of memory, or a socket call that fails: this connection ends, the others go on.
  }
  slot_->Close();
  Close();
  place_.reset();
}

void HttpSession::Signal(TaskSignal signal) {
  asio::post(socket_.get_executor(),
             [session = shared_from_this(), signal] { session->OnSignal(signal); });
}

void HttpSession::OnSignal(TaskSignal signal) {
  if (signal == TaskSignal::kRecheck) {
    if (IsRevoked()) Close();
    return;
  }
  is_stopping_ = true;
  const bool is_busy = phase_ == Phase::kReading || phase_ == Phase::kAnswering;
  if (signal == TaskSignal::kClose || !is_busy) Close();
}

bool HttpSession::IsRevoked() {
  const auto list = revocations_.With([](const auto& current) { return current; });
  return list != nullptr && list->Contains(serial_);
}

asio::awaitable<bool> HttpSession::Handshake() {
  beast::error_code ignored;
  // A Unix socket has neither.
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  const int unsent = kUnsentBytes;
  ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
  if (!tls_) co_return true;
  SetDeadline(Now() + limits_.handshake, AtDeadline::kClose);
  if (co_await tls_->Handshake()) {
    co_await Linger();  // The alert that says why is under way.
    co_return false;
  }
  const auto info = PeerCertificate(tls_->native_handle());
  if (!info) co_return false;
  const bool is_admin = info->role == crypto::CertificateRole::kAdmin;
  peer_ = Peer{info->uri(), is_admin ? Role::kAdmin : Role::kClient};
  serial_ = info->serial;
  place_ = places_.Take(peer_.name, [self = weak_from_this()] {
    if (const auto session = self.lock()) session->Signal(TaskSignal::kClose);
  });
  // Again: it may have been revoked since the handshake looked, before kRecheck could know whom
  // this connection serves.
  co_return !IsRevoked();
}

asio::awaitable<bool> HttpSession::ServeOne() {
  const Duration patience = phase_ == Phase::kHandshake ? limits_.handshake : limits_.idle;
  phase_ = Phase::kIdle;
  if (is_stopping_ || !is_open()) co_return false;
  if (!co_await AwaitRequest(patience)) co_return false;
  const Duration pause = handler_.PauseOf(peer_);
  if (pause > Duration(0) && !co_await Pause(pause)) co_return false;
  phase_ = Phase::kReading;
  SetDeadline(Now() + limits_.head, AtDeadline::kEndReading);
  Head head;
  unsigned refusal = co_await ReadHead(head);
  if (refusal == 200) refusal = co_await ReadBody(head);
  ClearDeadline();
  if (refusal != 200) {
    co_await Refuse(is_late_ ? 408 : refusal);
    co_return false;
  }
  phase_ = Phase::kAnswering;
  const bool with_body = head.request.method != "HEAD";
  std::optional<Response> answer = co_await Answer(std::move(head.request));
  if (!answer) co_return false;
  const bool keep_alive = head.keep_alive && !is_stopping_;
  co_return co_await Write(std::move(*answer), with_body, keep_alive);
}

asio::awaitable<bool> HttpSession::AwaitRequest(Duration patience) {
  if (buffer_.size() > 0) co_return true;
  SetDeadline(Now() + patience, AtDeadline::kClose);
  co_return co_await ReadMore();
}

asio::awaitable<bool> HttpSession::Pause(Duration pause) {
  ClearDeadline();  // The peer has sent something in time.
  const Instant until = Now() + pause;
  while (is_open() && Now() < until) {
    wake_.expires_at(until);
    co_await wake_.async_wait(kTuple);
  }
  wake_.expires_at(Instant::max());
  co_return is_open();
}

asio::awaitable<bool> HttpSession::ReadMore() {
  const std::size_t room = buffer_.max_size() - buffer_.size();
  const asio::mutable_buffer space = buffer_.prepare(std::min(kBufferBytes, room));
  if (tls_) {
    const auto [error, count] = co_await tls_->ReadSome(space);
    buffer_.commit(count);
    co_return !error;
  }
  const auto [error, count] = co_await socket_.async_read_some(space, kTuple);
  buffer_.commit(count);
  co_return !error;
}

asio::awaitable<unsigned> HttpSession::ReadHead(Head& head) {
  Parser parser;
  parser.header_limit(static_cast<std::uint32_t>(limits_.head_bytes_max));
  parser.body_limit(limits_.body_bytes_max);
  while (!parser.is_header_done()) {
    beast::error_code error;
    buffer_.consume(parser.put(buffer_.data(), error));
    if (!error) continue;
    if (error != http::error::need_more) co_return StatusOf(error);
    if (buffer_.size() == buffer_.max_size()) co_return 431;
    if (!co_await ReadMore()) co_return 0;
  }
  if (parser.chunked()) co_return 411;
  const auto& header = parser.get();
  head.request = ToRequest(header);
  head.body_bytes = static_cast<std::size_t>(parser.content_length().value_or(0));
  head.keep_alive = parser.keep_alive();
  head.expects_continue = EqualIgnoringCase(header[http::field::expect], "100-continue");
  co_return 200;
}

asio::awaitable<unsigned> HttpSession::ReadBody(Head& head) {
  if (head.expects_continue && buffer_.size() < head.body_bytes) {
    if (!co_await WriteAll(AsBytes("HTTP/1.1 100 Continue\r\n\r\n"))) co_return 0;
  }
  Bytes& body = head.request.body;
  const std::size_t here = std::min(buffer_.size(), head.body_bytes);
  const auto* const first = static_cast<const std::byte*>(buffer_.data().data());
  body.assign(first, first + here);
  buffer_.consume(here);
  // In steps, so that a declared length alone costs no memory.
  while (body.size() < head.body_bytes) {
    const std::size_t at = body.size();
    body.resize(std::min(head.body_bytes, at + kStepBytes));
    SetDeadline(Now() + limits_.step, AtDeadline::kEndReading);
    const asio::mutable_buffer space = asio::buffer(body.data() + at, body.size() - at);
    if (tls_) {
      const auto [error, count] = co_await tls_->Read(space);
      if (error) co_return 0;
    } else {
      const auto [error, count] = co_await asio::async_read(socket_, space, kTuple);
      if (error) co_return 0;
    }
  }
  co_return 200;
}

asio::awaitable<std::optional<Response>> HttpSession::Answer(Request request) {
  answer_.reset();
  handler_.OnRequest(peer_, std::move(request), std::make_unique<SessionResponder>(slot_));
  while (!answer_ && is_open()) co_await wake_.async_wait(kTuple);
  co_return std::exchange(answer_, std::nullopt);
}

asio::awaitable<bool> HttpSession::Write(Response response, bool with_body, bool keep_alive) {
  if (!keep_alive) response.headers.emplace_back("Connection", "close");
  std::string head = SerializeHead(response);
  ByteSpan body = response.body;
  if (!with_body) body = {};
  // The beginning of the body travels in the head's TLS record.
  const std::size_t joined = std::min(body.size(), kStepBytes);
  head.append(AsText(body.first(joined)));
  const bool is_written =
      co_await WriteAll(AsBytes(head)) && co_await WriteAll(body.subspan(joined));
  ClearDeadline();
  if (is_written && !keep_alive) co_await Linger();
  co_return is_written&& keep_alive;
}

asio::awaitable<bool> HttpSession::WriteAll(ByteSpan bytes) {
  while (!bytes.empty()) {
    const ByteSpan step = bytes.first(std::min(bytes.size(), kStepBytes));
    SetDeadline(Now() + limits_.step, AtDeadline::kClose);
    if (tls_) {
      const auto [error, count] = co_await tls_->Write(step);
      if (error) co_return false;
    } else {
      const auto [error, count] =
          co_await asio::async_write(socket_, asio::buffer(step.data(), step.size()), kTuple);
      if (error) co_return false;
    }
    bytes = bytes.subspan(step.size());
  }
  co_return true;
}

asio::awaitable<void> HttpSession::Refuse(unsigned status) {
  if (status == 0) co_return;
  Response response;
  response.status = status;
  co_await Write(std::move(response), true, false);
}

asio::awaitable<void> HttpSession::Linger() {
  beast::error_code failed;
  socket_.shutdown(Socket::shutdown_send, failed);
  if (failed) co_return;
  SetDeadline(Now() + kLinger, AtDeadline::kClose);
  buffer_.clear();
  const auto space = buffer_.prepare(std::min(kBufferBytes, buffer_.max_size()));
  while (true) {
    const auto [error, count] = co_await socket_.async_read_some(space, kTuple);
    if (error) co_return;
  }
}

void HttpSession::SetDeadline(Instant deadline, AtDeadline effect) {
  deadline_at_ = deadline;
  at_deadline_ = effect;
  if (deadline < awaited_) AwaitDeadline(deadline);
}

void HttpSession::AwaitDeadline(Instant until) {
  awaited_ = until;
  deadline_.expires_at(until);
  deadline_.async_wait([session = shared_from_this()](const beast::error_code& error) {
    if (!error) session->OnDeadline();
  });
}

void HttpSession::OnDeadline() {
  // Another wait may have begun while this one's end was on its way.
  if (awaited_ > Now()) return;
  awaited_ = Instant::max();
  if (deadline_at_ == Instant::max() || !is_open()) return;
  if (deadline_at_ > Now()) return AwaitDeadline(deadline_at_);
  deadline_at_ = Instant::max();
  is_late_ = true;
  beast::error_code ignored;
  if (at_deadline_ == AtDeadline::kClose) {
    // What a peer does not read would stay in the system's memory for as long as it likes.
    if (phase_ == Phase::kAnswering) {
      socket_.set_option(asio::socket_base::linger(true, 0), ignored);
    }
    return Close();
  }
  socket_.shutdown(Socket::shutdown_receive, ignored);
}

void HttpSession::Close() {
  beast::error_code ignored;
  socket_.close(ignored);
  deadline_.cancel();
  wake_.cancel();
}

}  // namespace fl::net::internal
