#include "fl/compression/codecs/sixteen_bits.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "fl/common/base/error_detail.h"

namespace fl {
namespace {

std::uint16_t ReadBits(ByteSpan payload, std::size_t index) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, payload.data() + index * sizeof(bits), sizeof(bits));
  return bits;
}

constexpr std::uint16_t MagnitudeOf(std::uint16_t bits) {
  return bits & std::uint16_t{0x7FFF};
}

}  // namespace

Result<> CheckSixteenBits(ByteSpan payload, std::size_t count, std::uint16_t limit,
                          std::uint16_t infinity, float magnitude_max,
                          float (*to_float)(std::uint16_t)) {
  std::uint16_t largest = 0;
  for (std::size_t i = 0; i < count; ++i)
    largest = std::max(largest, MagnitudeOf(ReadBits(payload, i)));
  if (largest <= limit) return {};
  std::size_t wrong = 0;
  while (MagnitudeOf(ReadBits(payload, wrong)) <= limit) ++wrong;
  const std::uint16_t bits = ReadBits(payload, wrong);
  const std::string value = "value " + std::to_string(wrong);
  if (MagnitudeOf(bits) >= infinity)
    return Error{ErrorCode::kNotFinite, value + " is not finite", ErrorDetail::kValueNotFinite};
  return Error{ErrorCode::kLimitExceeded,
               value + ": expected a magnitude of at most " + std::to_string(magnitude_max) +
                   ", found " + std::to_string(to_float(bits)),
               ErrorDetail::kValueTooLarge};
}

}  // namespace fl
