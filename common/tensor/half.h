#pragma once

#include <cstdint>

namespace fl {

// IEEE 754 binary16, round to nearest even; values beyond 65504 become infinity, NaN stays NaN.
std::uint16_t FloatToHalf(float value);
float HalfToFloat(std::uint16_t bits);
// bfloat16, round to nearest even.
std::uint16_t FloatToBfloat16(float value);
float Bfloat16ToFloat(std::uint16_t bits);

}  // namespace fl
