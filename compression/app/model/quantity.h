#pragma once

#include <cstdint>
#include <string_view>

#include "fl/common/base/result.h"

namespace fl::model_app {

// "200KB" -> 200000; units B, KB, MB, KiB, MiB, none: bytes. kInvalidArgument for all else, and for
// 0.
Result<std::uint64_t> ParseBytes(std::string_view text);

// "100us" -> 100; units us, ms, s, none: microseconds. kInvalidArgument for all else, and for 0.
Result<double> ParseMicroseconds(std::string_view text);

}  // namespace fl::model_app
