#include "fl/compression/codecs/bf16.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "fl/common/tensor/half.h"
#include "fl/compression/codecs/sixteen_bits.h"
#include "fl/compression/kernels/add_values.h"
#include "fl/compression/kernels/narrow_values.h"

namespace fl {
void Bf16::Encode(std::span<const float> values, RngStream& /*rng*/, ByteWriter& out) const {
  const std::size_t at = out.size();
  out.bytes().resize(at + EncodedBytes(values.size()));
  kernels::NarrowToBfloat16s(values, std::span(out.bytes()).subspan(at));
}

Result<> Bf16::Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const {
  // The largest bfloat16 within the limit: what is cut off makes a magnitude smaller.
  const auto bits =
      std::bit_cast<std::uint32_t>(std::clamp(limits.magnitude_max, 0.0F, 0x1.FEp127F));
  return CheckSixteenBits(payload, count, static_cast<std::uint16_t>(bits >> 16), 0x7F80,
                          limits.magnitude_max, Bfloat16ToFloat);
}

void Bf16::DecodeAdd(ByteSpan payload, std::size_t /*count*/, std::size_t first, float scale,
                     std::span<float> out) const {
  kernels::AddBfloat16s(payload.subspan(first * 2, out.size() * 2), scale, out);
}

}  // namespace fl
