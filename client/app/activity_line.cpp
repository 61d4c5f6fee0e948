#include "fl/client/app/activity_line.h"

#include <array>
#include <ctime>

#include <nlohmann/json.hpp>

namespace fl::client {
namespace {

std::string FormatUtc(TimePoint time) {
  const std::time_t seconds = ToMicroseconds(time) / 1'000'000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return {text.data(), size};
}

std::string HexTask(std::uint64_t task) {
  ByteWriter out;
  for (int shift = 56; shift >= 0; shift -= 8) out.Write(static_cast<std::uint8_t>(task >> shift));
  return ToHex(out.bytes());
}

}  // namespace

std::string FormatActivity(const RecordActivity& activity, std::string_view federation,
                           TimePoint time) {
  nlohmann::ordered_json line;
  line["time"] = FormatUtc(time);
  line["federation"] = federation;
  line["what"] = activity.what;
  line["round"] = activity.round;
  line["task"] = HexTask(activity.task);
  if (activity.asked > 0) line["asked"] = activity.asked;
  if (activity.examples > 0) line["examples"] = activity.examples;
  if (activity.update_bytes > 0) line["update_bytes"] = activity.update_bytes;
  if (!activity.detail.empty()) line["detail"] = activity.detail;
  // A refusal's text comes from the server: what is not UTF-8 in it is replaced.
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace fl::client
