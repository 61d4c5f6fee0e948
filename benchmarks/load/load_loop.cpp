#include "fl/benchmarks/load/load_loop.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include <sys/epoll.h>

#include "fl/common/base/check.h"

namespace fl::bench {
namespace {

constexpr int kEventsMax = 256;
constexpr int kPatienceMs = 20;
constexpr std::size_t kReadBytes = 64U << 10;

// 0 where there is none.
std::size_t LengthIn(std::string_view head) {
  constexpr std::string_view kName = "Content-Length: ";
  const std::size_t at = head.find(kName);
  std::size_t length = 0;
  if (at != std::string_view::npos) {
    const char* const first = head.data() + at + kName.size();
    std::from_chars(first, head.data() + head.size(), length);
  }
  return length;
}

}  // namespace

struct LoadLoop::Connection {
  TlsLink link;
  LoadPeer* peer = nullptr;
  bool is_handshaken = false;
  bool is_waiting = false;  // For an answer.
  std::string head;
  ByteSpan body;
  std::size_t sent = 0;  // Of head and body.
  Bytes received;
  Instant since{};
};

std::string RequestHead(std::string_view method, std::string_view target, std::size_t body_bytes,
                        std::string_view headers) {
  std::string head;
  head.append(method).append(" ").append(target).append(" HTTP/1.1\r\nHost: 127.0.0.1\r\n");
  head.append(headers);
  head.append("Content-Length: ").append(std::to_string(body_bytes)).append("\r\n\r\n");
  return head;
}

LoadLoop::LoadLoop(const TlsContext& context, std::uint16_t port)
    : context_(context), port_(port), poll_(::epoll_create1(EPOLL_CLOEXEC)), scratch_(kReadBytes) {
  FL_CHECK(poll_ >= 0, "no descriptor is left");
}

LoadLoop::~LoadLoop() {
  ::close(poll_);
}

Result<> LoadLoop::Add(LoadPeer& peer, const std::string& certificate, const crypto::Secret& key) {
  FL_TRY(TlsLink link, TlsLink::Connect(context_, port_, certificate, key));
  Connection& connection = connections_.emplace_back(
      Connection{std::move(link), &peer, false, false, {}, {}, 0, {}, {}});
  ++open_;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLET;
  event.data.ptr = &connection;
  ::epoll_ctl(poll_, EPOLL_CTL_ADD, connection.link.socket(), &event);
  return Ok{};
}

void LoadLoop::Turn() {
  std::array<epoll_event, kEventsMax> events{};
  const int count = ::epoll_wait(poll_, events.data(), kEventsMax, kPatienceMs);
  for (int i = 0; i < count; ++i) {
    auto& connection = *static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
    const auto what = events[static_cast<std::size_t>(i)].events;
    Progress(connection, (what & ~std::uint32_t{EPOLLOUT}) != 0);
  }
}

void LoadLoop::Progress(Connection& connection, bool readable) {
  if (!connection.link.is_open()) return;
  if (!connection.is_handshaken) {
    const Moved done = connection.link.Handshake();
    if (done.state == Moved::State::kClosed) return End(connection);
    if (done.state == Moved::State::kAgain) return;
    connection.is_handshaken = true;
    ++handshaken_;
    Begin(connection, connection.peer->First());
  } else if (connection.sent < connection.head.size() + connection.body.size()) {
    Send(connection);
  }
  if (readable && connection.link.is_open()) Receive(connection);
}

void LoadLoop::Begin(Connection& connection, Outgoing request) {
  connection.is_waiting = !request.rest;
  if (request.rest) return;
  connection.head = std::move(request.head);
  connection.body = request.body;
  // A small body travels in the head's record.
  if (connection.body.size() <= kReadBytes) {
    connection.head.append(AsText(connection.body));
    connection.body = {};
  }
  connection.sent = 0;
  connection.since = std::chrono::steady_clock::now();
  Send(connection);
}

void LoadLoop::Send(Connection& connection) {
  const std::size_t head = connection.head.size();
  while (connection.sent < head + connection.body.size()) {
    const ByteSpan rest = connection.sent < head ? AsBytes(connection.head).subspan(connection.sent)
                                                 : connection.body.subspan(connection.sent - head);
    const Moved moved = connection.link.Write(rest);
    if (moved.state == Moved::State::kClosed) return End(connection);
    if (moved.state == Moved::State::kAgain) return;
    connection.sent += moved.bytes;
  }
}

void LoadLoop::Receive(Connection& connection) {
  while (connection.link.is_open()) {
    const Moved moved = connection.link.Read(scratch_);
    const auto first = scratch_.begin();
    connection.received.insert(connection.received.end(), first,
                               first + static_cast<std::ptrdiff_t>(moved.bytes));
    if (moved.state == Moved::State::kClosed) return End(connection);
    if (moved.state == Moved::State::kAgain) return;
    while (TakeAnswer(connection)) continue;
  }
}

bool LoadLoop::TakeAnswer(Connection& connection) {
  const std::string_view text = AsText(connection.received);
  const std::size_t blank = text.find("\r\n\r\n");
  if (!connection.is_waiting || blank == std::string_view::npos) return false;
  const std::string_view head = text.substr(0, blank + 2);
  const std::size_t body = blank + 4;
  const std::size_t length = LengthIn(head);
  if (text.size() < body + length) return false;
  Incoming answer;
  std::from_chars(head.data() + std::min<std::size_t>(9, head.size()), head.data() + head.size(),
                  answer.status);
  answer.body = ByteSpan(connection.received).subspan(body, length);
  answer.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - connection.since).count();
  Outgoing next = connection.peer->Next(answer);
  connection.received.erase(
      connection.received.begin(),
      connection.received.begin() + static_cast<std::ptrdiff_t>(body + length));
  Begin(connection, std::move(next));
  return !connection.received.empty();
}

void LoadLoop::End(Connection& connection) {
  if (!connection.link.is_open()) return;
  connection.link.Close();
  --open_;
  connection.is_waiting = false;
  connection.peer->Next({});
}

}  // namespace fl::bench
