#pragma once

#include <cstdint>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"

namespace fl {

// Checks `count` little-endian values of a floating-point format of sixteen bits, whose magnitudes
// order as their bits do: none above `limit`, the largest magnitude's bits, whose value is at most
// `magnitude_max`. From `infinity` on a value is not finite. kNotFinite or kLimitExceeded.
Result<> CheckSixteenBits(ByteSpan payload, std::size_t count, std::uint16_t limit,
                          std::uint16_t infinity, float magnitude_max,
                          float (*to_float)(std::uint16_t));

}  // namespace fl
