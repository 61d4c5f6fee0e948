#include "fl/compression/codecs/bf16.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include "fl/common/tensor/half.h"
#include "fl/common/tensor/kernels/axpy.h"

namespace fl {
namespace {

constexpr std::uint16_t kLargest = 0x7F7F;

float ReadValue(ByteSpan payload, std::size_t index) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, payload.data() + 2 * index, sizeof(bits));
  return Bfloat16ToFloat(bits);
}

}  // namespace

void Bf16::Encode(std::span<const float> values, RngStream& /*rng*/, ByteWriter& out) const {
  std::size_t at = out.size();
  out.bytes().resize(at + EncodedBytes(values.size()));
  const float largest = Bfloat16ToFloat(kLargest);
  for (const float value : values) {
    const std::uint16_t bits = FloatToBfloat16(std::clamp(value, -largest, largest));
    std::memcpy(out.bytes().data() + at, &bits, sizeof(bits));
    at += sizeof(bits);
  }
}

Result<> Bf16::Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const {
  for (std::size_t i = 0; i < count; ++i) {
    const float value = ReadValue(payload, i);
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

void Bf16::DecodeAdd(ByteSpan payload, std::size_t /*count*/, std::size_t first, float scale,
                     std::span<float> out) const {
  constexpr std::size_t kRun = 512;
  std::array<float, kRun> run;
  for (std::size_t at = 0; at < out.size(); at += kRun) {
    const auto block = out.subspan(at, std::min(kRun, out.size() - at));
    for (std::size_t i = 0; i < block.size(); ++i) run[i] = ReadValue(payload, first + at + i);
    kernels::Axpy(scale, std::span(run).first(block.size()), block);
  }
}

}  // namespace fl
