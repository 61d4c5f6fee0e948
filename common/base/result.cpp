#include "fl/common/base/result.h"

#include <array>

namespace fl {

std::string_view ErrorCodeName(ErrorCode code) {
  static constexpr std::array<std::string_view, 28> kNames = {"ok",
                                                              "internal",
                                                              "invalid_argument",
                                                              "not_found",
                                                              "malformed",
                                                              "limit_exceeded",
                                                              "unsupported",
                                                              "io",
                                                              "timeout",
                                                              "unavailable",
                                                              "unauthorized",
                                                              "conflict",
                                                              "digest_mismatch",
                                                              "not_finite",
                                                              "shape_mismatch",
                                                              "wrong_base",
                                                              "wrong_recipe",
                                                              "duplicate",
                                                              "too_late",
                                                              "not_needed",
                                                              "norm_exceeded",
                                                              "wrong_offset",
                                                              "unknown_task",
                                                              "wrong_version",
                                                              "bad_weight",
                                                              "stream_mismatch",
                                                              "wrong_state",
                                                              "locked"};
  const auto index = static_cast<std::size_t>(code);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::ostream& operator<<(std::ostream& out, const Error& error) {
  return out << ErrorCodeName(error.code) << ": " << error.message;
}

}  // namespace fl
