#include "fl/common/base/byte_count.h"

#include <charconv>
#include <cmath>

namespace fl {

std::optional<std::uint64_t> ParseByteCount(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  double factor = 1;
  if (unit == "KB") {
    factor = 1e3;
  } else if (unit == "MB") {
    factor = 1e6;
  } else if (unit == "GB") {
    factor = 1e9;
  } else if (!unit.empty() && unit != "B") {
    return std::nullopt;
  }
  const double bytes = number * factor;
  if (!(bytes >= 0 && bytes <= 1e12) || bytes != std::floor(bytes)) return std::nullopt;
  return static_cast<std::uint64_t>(bytes);
}

}  // namespace fl
