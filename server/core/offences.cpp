#include "fl/server/core/offences.h"

#include <algorithm>
#include <cmath>

#include "fl/common/base/error_detail.h"

namespace fl::server {

bool IsOffence(ErrorCode code) {
  switch (code) {
    case ErrorCode::kMalformed:
    case ErrorCode::kLimitExceeded:
    case ErrorCode::kDigestMismatch:
    case ErrorCode::kNotFinite:
    case ErrorCode::kShapeMismatch:
    case ErrorCode::kWrongBase:
    case ErrorCode::kWrongRecipe:
    case ErrorCode::kDuplicate:
    case ErrorCode::kNormExceeded:
    case ErrorCode::kUnknownTask:
    case ErrorCode::kBadWeight:
    case ErrorCode::kStreamMismatch:
      return true;
    default:
      return false;
  }
}

bool CountOffence(const OffencePolicy& policy, TimePoint now, OffenderRow& row) {
  const bool forgotten = now - row.last_at > FromSeconds(policy.deny_s);
  row.offences = forgotten ? 1 : row.offences + 1;
  row.last_at = now;
  row.denied = policy.deny_after > 0 && row.offences >= policy.deny_after;
  if (row.denied) {
    row.held_until = now + FromSeconds(policy.deny_s);
  } else if (row.offences > policy.free) {
    const double doublings = static_cast<double>(row.offences - policy.free - 1);
    row.held_until =
        now + FromSeconds(std::min(policy.hold_max_s, policy.hold_s * std::exp2(doublings)));
  }
  return row.denied;
}

Error HeldOffError(const OffenderRow& row) {
  const std::string count = std::to_string(row.offences) + " requests in a row were refused";
  if (row.denied) {
    return {ErrorCode::kUnavailable, "this client is denied for now: " + count,
            ErrorDetail::kDenied};
  }
  return {ErrorCode::kUnavailable, "this client has to wait: " + count, ErrorDetail::kHeldOff};
}

}  // namespace fl::server
