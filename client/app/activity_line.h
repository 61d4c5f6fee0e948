#pragma once

#include <string>
#include <string_view>

#include "fl/client/core/client_core.h"

namespace fl::client {

// A line of the device's activity log: a JSON object with "time" (UTC), "federation", "what",
// "round", "task" and, where they say something, "asked", "examples", "update_bytes", "detail".
std::string FormatActivity(const RecordActivity& activity, std::string_view federation,
                           TimePoint time);

}  // namespace fl::client
