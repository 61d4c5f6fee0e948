#include "fl/common/tensor/half.h"

#include <bit>

namespace fl {
namespace {

constexpr std::uint32_t kSignFloat = 0x80000000U;
constexpr std::uint32_t kInfinityFloat = 0x7F800000U;
constexpr std::uint32_t kInfinityHalf = 0x7C00U;

// Drops the low `count` bits (1 to 31), rounding to nearest, ties to even.
std::uint32_t RoundOff(std::uint32_t value, std::uint32_t count) {
  const std::uint32_t half = 1U << (count - 1);
  const std::uint32_t odd = (value >> count) & 1U;
  return (value + half - 1 + odd) >> count;
}

}  // namespace

std::uint16_t FloatToHalf(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits & kSignFloat) >> 16;
  const std::uint32_t magnitude = bits & ~kSignFloat;
  std::uint32_t result = kInfinityHalf;
  if (magnitude > kInfinityFloat) {  // NaN: quiet, with the payload's highest bits.
    result = kInfinityHalf | 0x200U | ((magnitude >> 13) & 0x1FFU);
  } else if (magnitude >= 0x38800000U &&
             magnitude < 0x47800000U) {  // 2^-14 up to 2^16: normal, may round up to infinity.
    result = RoundOff(magnitude - (112U << 23), 13);
  } else if (magnitude <
             0x38800000U) {  // Subnormal: a multiple of 2^-24; below 2^-25 it rounds to zero.
    const std::uint32_t exponent = magnitude >> 23;
    const std::uint32_t significand = (magnitude & 0x7FFFFFU) | 0x800000U;
    result = exponent < 102 ? 0 : RoundOff(significand, 126 - exponent);
  }
  return static_cast<std::uint16_t>(sign | result);
}

float HalfToFloat(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1FU;
  const std::uint32_t significand = bits & 0x3FFU;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(significand) * 0x1.0p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t widened = exponent == 31 ? 255U : exponent + 112U;
  return std::bit_cast<float>(sign | (widened << 23) | (significand << 13));
}

std::uint16_t FloatToBfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & ~kSignFloat) > kInfinityFloat)
    return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>(RoundOff(bits, 16));
}

float Bfloat16ToFloat(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace fl
