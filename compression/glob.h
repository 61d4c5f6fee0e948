#pragma once

#include <string_view>

namespace fl {

// Whether the whole of `text` matches the pattern: "*" stands for any number of characters, "?" for
// one, all others for themselves. Takes time in pattern x text at most.
bool GlobMatches(std::string_view pattern, std::string_view text);

}  // namespace fl
