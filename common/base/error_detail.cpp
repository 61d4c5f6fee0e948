#include "fl/common/base/error_detail.h"

#include <array>

namespace fl {
namespace {

constexpr auto kNames = std::to_array<std::string_view>({"",
                                                         "cut_short",
                                                         "long_number",
                                                         "trailing_bytes",
                                                         "magic",
                                                         "format_version",
                                                         "header_crc",
                                                         "body_crc",
                                                         "update_bytes",
                                                         "update_digest",
                                                         "examples_count",
                                                         "stream_count",
                                                         "segment_count",
                                                         "entries_beyond_end",
                                                         "payload_beyond_end",
                                                         "stream_order",
                                                         "task_other",
                                                         "base_other",
                                                         "recipe_other",
                                                         "examples_none",
                                                         "stream_unknown",
                                                         "stream_missing",
                                                         "metrics_only",
                                                         "calibration_only",
                                                         "delta_missing",
                                                         "segment_unknown",
                                                         "metrics_incomplete",
                                                         "payload_bytes",
                                                         "value_not_finite",
                                                         "value_too_large",
                                                         "scale_not_finite",
                                                         "scale_negative",
                                                         "scale_useless",
                                                         "level_unknown",
                                                         "level_count",
                                                         "index_count",
                                                         "index_range",
                                                         "index_cut_short",
                                                         "rank_count",
                                                         "choice_unknown",
                                                         "padding_bits",
                                                         "code_not_shortest",
                                                         "code_damaged",
                                                         "norm_l2",
                                                         "calibration_samples",
                                                         "calibration_nodes",
                                                         "calibration_count",
                                                         "calibration_reach",
                                                         "calibration_bins",
                                                         "route_unknown",
                                                         "role_wrong",
                                                         "task_syntax",
                                                         "task_unknown",
                                                         "offset_syntax",
                                                         "range_syntax",
                                                         "digest_syntax",
                                                         "body_bytes",
                                                         "reservation_missing",
                                                         "reservation_bytes",
                                                         "chunk_offset",
                                                         "chunk_beyond_end",
                                                         "commit_other",
                                                         "commit_early",
                                                         "update_other",
                                                         "phase_unknown",
                                                         "held_off",
                                                         "denied",
                                                         "message_field",
                                                         "message_bytes",
                                                         "uploads_begun",
                                                         "too_many_requests"});

}  // namespace

std::string_view ErrorDetailName(ErrorDetail detail) {
  const auto index = static_cast<std::size_t>(detail);
  return index < kNames.size() ? kNames[index] : "";
}

std::size_t ErrorDetailCount() {
  return kNames.size();
}

}  // namespace fl
