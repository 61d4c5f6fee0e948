#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace fl {

// A number of bytes as people write it: "500", "500B", "60KB", "1.5MB", "2GB", with KB = 1000
// bytes. Nothing unless that is a whole number of at most 10^12.
std::optional<std::uint64_t> ParseByteCount(std::string_view text);

}  // namespace fl
