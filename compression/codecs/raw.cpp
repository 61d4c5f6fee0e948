#include "fl/compression/codecs/raw.h"

#include <cmath>
#include <cstring>
#include <string>

#include "fl/compression/kernels/add_values.h"

namespace fl {

CodecTraits Raw::traits() const {
  return {.lossless = true, .unbiased = true};
}

void Raw::Encode(std::span<const float> values, RngStream& /*rng*/, ByteWriter& out) const {
  out.WriteSpan(std::as_bytes(values));
}

Result<> Raw::Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const {
  for (std::size_t i = 0; i < count; ++i) {
    float value = 0;
    std::memcpy(&value, payload.data() + i * sizeof(float), sizeof(float));
    if (!std::isfinite(value))
      return Error{ErrorCode::kNotFinite, "value " + std::to_string(i) + " is not finite"};
    if (std::fabs(value) > limits.magnitude_max) {
      return Error{ErrorCode::kLimitExceeded,
                   "value " + std::to_string(i) + ": expected a magnitude of at most " +
                       std::to_string(limits.magnitude_max) + ", found " + std::to_string(value)};
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
