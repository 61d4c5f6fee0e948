#include "fl/compression/codecs/fp16.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "fl/common/tensor/half.h"
#include "fl/compression/kernels/add_values.h"

namespace fl {
namespace {

constexpr float kHalfMax = 65504.0F;

}  // namespace

void Fp16::Encode(std::span<const float> values, RngStream& /*rng*/, ByteWriter& out) const {
  for (const float value : values) out.Write(FloatToHalf(std::clamp(value, -kHalfMax, kHalfMax)));
}

Result<> Fp16::Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const {
  for (std::size_t i = 0; i < count; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, payload.data() + i * sizeof(bits), sizeof(bits));
    if ((bits & 0x7C00U) == 0x7C00U)
      return Error{ErrorCode::kNotFinite, "value " + std::to_string(i) + " is not finite"};
    if (std::fabs(HalfToFloat(bits)) > limits.magnitude_max) {
      return Error{ErrorCode::kLimitExceeded, "value " + std::to_string(i) +
                                                  ": expected a magnitude of at most " +
                                                  std::to_string(limits.magnitude_max) +
                                                  ", found " + std::to_string(HalfToFloat(bits))};
    }
  }
  return {};
}

void Fp16::DecodeAdd(ByteSpan payload, std::size_t /*count*/, std::size_t first, float scale,
                     std::span<float> out) const {
  kernels::AddHalves(payload.subspan(first * 2, out.size() * 2), scale, out);
}

}  // namespace fl
