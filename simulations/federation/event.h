#pragma once

#include <cstdint>
#include <future>
#include <variant>

#include "fl/client/core/client_core.h"
#include "fl/common/base/result.h"
#include "fl/common/net/message.h"
#include "fl/server/core/server_core.h"
#include "fl/simulations/net/event_queue.h"

// What can happen in a simulated federation.
namespace fl::sim {

// To the server.
struct RequestReceived {
  std::uint64_t id = 0;  // Of the exchange.
  std::uint32_t device = 0;
  net::Request request;
};
struct HoldEnded {  // A held check-in is to be answered now.
  std::uint64_t id = 0;
};
struct ServerTimer {};
struct FoldWanted {
  std::uint64_t round = 0;
};
struct EvaluationFinished {  // On a worker, perhaps not yet.
  std::uint64_t version = 0;
  std::future<Result<server::Evaluated>> result;
};

// To a device.
struct DeviceStarted {};
struct ReplyReceived {
  std::uint64_t id = 0;
  net::Response response;
};
struct ReplyTimedOut {
  std::uint64_t id = 0;
};
struct DeviceTimer {};
struct JobFinished {  // On a worker, perhaps not yet: virtual time is what the link and speed
                      // models say.
  std::future<client::ClientEvent> result;
};

using Event = std::variant<RequestReceived, HoldEnded, ServerTimer, FoldWanted, EvaluationFinished,
                           DeviceStarted, ReplyReceived, ReplyTimedOut, DeviceTimer, JobFinished>;
using Queue = EventQueue<Event>;

}  // namespace fl::sim
