#pragma once

#include <optional>

#include "fl/common/base/clock.h"
#include "fl/common/base/result.h"
#include "fl/common/net/message.h"

namespace fl::client {

// From when to when, counted from an answer's arrival, the server wants to hear from a client.
struct AgainWindow {
  Duration min{};
  Duration max{};
  friend bool operator==(const AgainWindow&, const AgainWindow&) = default;
};

// Why a request came to nothing, and what that calls for.
struct Failure {
  enum class Cure : std::uint8_t {
    kSendAgain,  // No answer, garbage, or an overloaded server: the same request later.
    kGiveUp,     // The server has understood and said no.
    kStop,       // No later request can succeed: wrong certificate, another protocol.
  };
  Cure cure = Cure::kSendAgain;
  Error error;
  std::optional<AgainWindow> again;  // The server's own; absent: back off.
};

// The failure that an exchange was, or nothing when its status is 2xx. A refusal's message is cut
// to a length that a log line bears.
std::optional<Failure> FindFailure(const Result<net::Response>& answer);

// The failure of a 2xx answer whose body is not what its request calls for.
Failure GarbageAnswer(const Error& error);

}  // namespace fl::client
