#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include "fl/common/net/http.h"
#include "fl/common/net/internal/peer_places.h"
#include "fl/common/net/internal/task_group.h"
#include "fl/common/net/internal/tls_setup.h"
#include "fl/common/net/internal/tls_stream.h"

namespace fl::net::internal {

// One connection of the server: handshake, then request after request until one side has enough.
// All of it runs on the strand that is the socket's executor; Signal may be called from any thread.
class HttpSession final : public std::enable_shared_from_this<HttpSession> {
 public:
  using Socket = boost::asio::generic::stream_protocol::socket;  // TCP or Unix.

  // What the sessions of a server share; it must outlive them.
  struct Shared {
    const HttpLimits& limits;
    RequestHandler& handler;
    SharedRevocations& revocations;
    PeerPlaces& places;
  };

  // Without `tls` bytes travel as they are and the peer has no name.
  HttpSession(Socket socket, boost::asio::ssl::context* tls, const Shared& shared);

  // The whole life of the connection.
  boost::asio::awaitable<void> Run();
  // kRecheck closes it when its certificate was revoked.
  void Signal(TaskSignal signal);

 private:
  using Instant = std::chrono::steady_clock::time_point;
  enum class Phase : std::uint8_t { kHandshake, kIdle, kReading, kAnswering };
  // What happens at a deadline: the connection closes, or reading ends and an answer can still be
  // written.
  enum class AtDeadline : std::uint8_t { kClose, kEndReading };

  // Where a responder, which may outlive the session, leaves its answer.
  class AnswerSlot {
   public:
    explicit AnswerSlot(HttpSession& session) : session_(&session) {}
    void Put(Response answer);
    void Close();

   private:
    std::mutex mutex_;
    HttpSession* session_;  // Null once the session has ended.
  };
  class SessionResponder;

  // What the head said about the request.
  struct Head {
    Request request;
    std::size_t body_bytes = 0;
    bool keep_alive = true;
    bool expects_continue = false;
  };

  boost::asio::awaitable<bool> Handshake();
  // False when the connection is to end.
  boost::asio::awaitable<bool> ServeOne();
  // Some more bytes at the end of buffer_, which has room; false when the connection is over.
  boost::asio::awaitable<bool> ReadMore();
  // The first bytes of a request; false when the peer left, or sent nothing for so long.
  boost::asio::awaitable<bool> AwaitRequest(Duration patience);
  // Leaves the rest of the request unread for so long; false when the connection ended meanwhile.
  boost::asio::awaitable<bool> Pause(Duration pause);
  // A number is the status to refuse the request with, 0 to close without an answer.
  boost::asio::awaitable<unsigned> ReadHead(Head& head);
  boost::asio::awaitable<unsigned> ReadBody(Head& head);
  boost::asio::awaitable<std::optional<Response>> Answer(Request request);
  boost::asio::awaitable<bool> Write(Response response, bool with_body, bool keep_alive);
  boost::asio::awaitable<bool> WriteAll(ByteSpan bytes);
  boost::asio::awaitable<void> Refuse(unsigned status);
  boost::asio::awaitable<void> Linger();

  void OnSignal(TaskSignal signal);
  bool IsRevoked();
  void SetDeadline(Instant deadline, AtDeadline effect);
  void ClearDeadline() { deadline_at_ = Instant::max(); }
  void AwaitDeadline(Instant until);
  void OnDeadline();
  void Close();
  bool is_open() const { return socket_.is_open(); }

  Socket socket_;
  std::optional<TlsStream> tls_;  // Over socket_.
  const HttpLimits& limits_;
  RequestHandler& handler_;
  SharedRevocations& revocations_;
  PeerPlaces& places_;
  boost::beast::flat_buffer buffer_;
  // One wait serves many deadlines: most move on before they come.
  boost::asio::steady_timer deadline_;
  Instant awaited_ = Instant::max();      // Of the wait; max: there is none.
  Instant deadline_at_ = Instant::max();  // max: there is none.
  AtDeadline at_deadline_ = AtDeadline::kClose;
  // Expires at the end of a pause, else never; cancelled when an answer is there.
  boost::asio::steady_timer wake_;
  std::shared_ptr<AnswerSlot> slot_;  // Shared with the responder.
  std::optional<Response> answer_;
  Peer peer_;
  std::string serial_;
  std::unique_ptr<PeerPlaces::Place> place_;  // Of a peer with a name.
  Phase phase_ = Phase::kHandshake;
  bool is_stopping_ = false;
  bool is_late_ = false;
};

}  // namespace fl::net::internal
