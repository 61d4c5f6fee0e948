#include "fl/compression/codecs/fp16.h"

#include <algorithm>

#include "fl/common/tensor/half.h"
#include "fl/compression/codecs/sixteen_bits.h"
#include "fl/compression/kernels/add_values.h"
#include "fl/compression/kernels/narrow_values.h"

namespace fl {
void Fp16::Encode(std::span<const float> values, RngStream& /*rng*/, ByteWriter& out) const {
  const std::size_t at = out.size();
  out.bytes().resize(at + EncodedBytes(values.size()));
  kernels::NarrowToHalves(values, std::span(out.bytes()).subspan(at));
}

Result<> Fp16::Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const {
  // The largest half within the limit: magnitudes order as their bits do, infinity and NaN last.
  const std::uint16_t rounded = FloatToHalf(std::clamp(limits.magnitude_max, 0.0F, 65504.0F));
  const std::uint16_t limit = HalfToFloat(rounded) > limits.magnitude_max
                                  ? static_cast<std::uint16_t>(rounded - 1)
                                  : rounded;
  return CheckSixteenBits(payload, count, limit, 0x7C00, limits.magnitude_max, HalfToFloat);
}

void Fp16::DecodeAdd(ByteSpan payload, std::size_t /*count*/, std::size_t first, float scale,
                     std::span<float> out) const {
  kernels::AddHalves(payload.subspan(first * 2, out.size() * 2), scale, out);
}

}  // namespace fl
