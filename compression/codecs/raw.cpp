#include "fl/compression/codecs/raw.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "fl/common/base/error_detail.h"
#include "fl/compression/kernels/add_values.h"

namespace fl {

CodecTraits Raw::traits() const {
  return {.lossless = true, .unbiased = true, .relative_error = 0};
}

void Raw::Encode(std::span<const float> values, RngStream& /*rng*/, ByteWriter& out) const {
  out.WriteSpan(std::as_bytes(values));
}

Result<> Raw::Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const {
  // Magnitudes order as their bits do, with infinity and NaN above all numbers: one comparison
  // finds what is wrong.
  const auto limit = std::bit_cast<std::uint32_t>(limits.magnitude_max);
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, payload.data() + i * sizeof(bits), sizeof(bits));
    largest = std::max(largest, bits & 0x7FFFFFFFU);
  }
  if (largest <= std::min(limit, 0x7F7FFFFFU)) return {};
  for (std::size_t i = 0; i < count; ++i) {
    float value = 0;
    std::memcpy(&value, payload.data() + i * sizeof(float), sizeof(float));
    if (!std::isfinite(value))
      return Error{ErrorCode::kNotFinite, "value " + std::to_string(i) + " is not finite",
                   ErrorDetail::kValueNotFinite};
    if (std::fabs(value) > limits.magnitude_max) {
      return Error{ErrorCode::kLimitExceeded,
                   "value " + std::to_string(i) + ": expected a magnitude of at most " +
                       std::to_string(limits.magnitude_max) + ", found " + std::to_string(value),
                   ErrorDetail::kValueTooLarge};
    }
  }
  return {};
}

void Raw::DecodeAdd(ByteSpan payload, std::size_t /*count*/, std::size_t first, float scale,
                    std::span<float> out) const {
  kernels::AddFloats(payload.subspan(first * sizeof(float), out.size() * sizeof(float)), scale,
                     out);
}

}  // namespace fl
