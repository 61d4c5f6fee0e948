#include "fl/client/core/answer.h"

#include <algorithm>
#include <string>

#include "fl/common/wire/messages.h"

namespace fl::client {
namespace {

// Certificates and protocol versions do not mend themselves.
bool IsFatal(ErrorCode code) {
  return code == ErrorCode::kUnauthorized || code == ErrorCode::kWrongVersion;
}

Failure FromRefusal(const wire::Refusal& refusal) {
  Failure failure;
  failure.error = {static_cast<ErrorCode>(refusal.code), refusal.message};
  if (refusal.again_max_ms > 0) {
    const auto low = std::min(refusal.again_min_ms, refusal.again_max_ms);
    failure.again = AgainWindow{std::chrono::milliseconds(low),
                                std::chrono::milliseconds(refusal.again_max_ms)};
    return failure;
  }
  failure.cure = IsFatal(failure.error.code) ? Failure::Cure::kStop : Failure::Cure::kGiveUp;
  return failure;
}

}  // namespace

std::optional<Failure> FindFailure(const Result<net::Response>& answer) {
  if (!answer) {
    Failure failure;
    failure.error = answer.error();
    if (IsFatal(failure.error.code)) failure.cure = Failure::Cure::kStop;
    return failure;
  }
  if (answer->status >= 200 && answer->status < 300) return std::nullopt;
  const auto refusal = wire::Decode<wire::Refusal>(answer->body);
  if (refusal && refusal->code != 0) return FromRefusal(*refusal);
  // A proxy's own page, or an answer to HEAD, which has no body.
  Failure failure;
  failure.error = {ErrorCode::kUnavailable,
                   "the server answered with status " + std::to_string(answer->status)};
  return failure;
}

Failure GarbageAnswer(const Error& error) {
  return Failure{Failure::Cure::kSendAgain, error.At("the server's answer"), std::nullopt};
}

}  // namespace fl::client
