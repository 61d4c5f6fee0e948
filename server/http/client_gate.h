#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "fl/common/base/clock.h"
#include "fl/common/base/guarded.h"
#include "fl/common/net/message.h"
#include "fl/server/operate/federation_metrics.h"

namespace fl::server {

// How much one client may ask for.
struct ClientLimits {
  std::uint64_t requests_per_second = 100;  // In the long run, at most 100,000; 0: no limit.
  std::uint64_t burst = 1000;               // So many at once after a pause; at least 1.
  std::size_t clients_max = 65536;          // Of whom something is known at a time.

  // Ten seconds' worth of requests at once, and 200 at least.
  static ClientLimits Of(std::uint64_t requests_per_second);
};

// Why requests were put off: too many wait, or are under way; one client's are too many, or it was
// refused too often; nothing can be stored, or no round is open.
enum class PutOffReason : std::uint8_t { kBehind, kUploads, kRate, kHeldOff, kNotNow };
inline constexpr std::array<std::string_view, 5> kPutOffReasonNames = {"behind", "uploads", "rate",
                                                                       "held_off", "not_now"};

// What one client may take of a server that others need, by the name in its certificate, over
// however many connections. Two rules, neither for admins:
//
// Rate. A bucket of `burst` requests that fills at `requests_per_second`; a request that finds it
// empty is refused before anything of it is looked at. A piece of a model, or one of an update with
// at least 64 KiB, counts as an eighth: 1 MiB each, the default lets 800 MiB a second pass.
//
// Pause. A client that was answered 503 with a window, for whatever reason, has its next requests
// left unread (RequestHandler::PauseOf) until the window begins, at most for a second: whoever asks
// again at once costs an answer a second for each connection, not a processor. Who obeys the window
// does not notice. A longer pause would save little more, and keep those waiting who may come again
// before the window, or whose connection is gone.
//
// A client of whom there is nothing to know (bucket full, no pause) is forgotten. Of more than
// `clients_max` at a time the rest goes uncounted. Thread safety: shared objects safe.
class ClientGate {
 public:
  explicit ClientGate(const ClientLimits& limits = {});

  // Takes the request's share of the bucket; the refusal, with a window, when it is empty.
  std::optional<net::Response> Take(const net::Peer& peer, const net::Request& request,
                                    TimePoint now);
  // To be told of each answer before it is sent; one that puts nobody off costs nothing.
  void NoteAnswer(const net::Peer& peer, const net::Response& answer, PutOffReason why,
                  TimePoint now);
  // What is left of the client's pause.
  Duration PauseOf(const net::Peer& peer, TimePoint now);

  // Answers that put somebody off, by reason; and requests that were left unread for a while.
  const Counter& put_off(PutOffReason why) const { return put_off_[static_cast<std::size_t>(why)]; }
  const Counter& paused() const { return paused_; }
  // Clients of whom something is known now.
  std::size_t clients();

 private:
  struct Client {
    TimePoint full_at{};  // When its bucket is full again.
    TimePoint paused_until{};
  };
  struct Clients {
    std::unordered_map<std::string, Client> known;
    std::size_t sweep_at = 0;  // This many begin a sweep,
    TimePoint sweep_after{};   // unless the last one was just now.
  };
  // Null where there is no room.
  Client* Find(Clients& clients, const std::string& name, TimePoint now) const;

  const ClientLimits limits_;
  const Duration cost_;      // Of one request: how long the bucket takes to fill by so much.
  const Duration capacity_;  // Of the bucket: how long it takes to fill.
  Guarded<Clients> clients_;
  std::array<Counter, kPutOffReasonNames.size()> put_off_;
  Counter paused_;
};

}  // namespace fl::server
