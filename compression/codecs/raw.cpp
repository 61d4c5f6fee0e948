#include "fl/compression/codecs/raw.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>
#include <string>

#include "fl/common/base/error_detail.h"
#include "fl/compression/kernels/add_values.h"

namespace fl {
namespace {

constexpr std::size_t kBlock = 16;  // A length that the compiler knows, for vectors.
using Block = std::array<std::int32_t, kBlock>;

// Magnitudes order as their bits do, with infinity and NaN above all numbers: one comparison finds
// what is wrong.
void NoteAbove(const std::byte* values, std::int32_t limit, Block& above) {
  Block bits;
  std::memcpy(bits.data(), values, sizeof(bits));
  for (std::size_t k = 0; k < kBlock; ++k) above[k] |= (bits[k] & 0x7FFFFFFF) > limit ? 1 : 0;
}

// Whether each value, little-endian fp32, is a number of at most that magnitude.
bool AllWithin(ByteSpan values, float magnitude_max) {
  constexpr std::int32_t kLargest = 0x7F7FFFFF;  // The largest finite number.
  const std::int32_t limit = std::min(std::bit_cast<std::int32_t>(magnitude_max), kLargest);
  Block above{};
  for (; values.size() >= sizeof(Block); values = values.subspan(sizeof(Block)))
    NoteAbove(values.data(), limit, above);
  Block rest{};  // Zeros are within.
  if (!values.empty()) std::memcpy(rest.data(), values.data(), values.size());
  NoteAbove(std::as_bytes(std::span(rest)).data(), limit, above);
  return std::ranges::all_of(above, [](std::int32_t any) { return any == 0; });
}

}  // namespace

CodecTraits Raw::traits() const {
  return {.lossless = true, .unbiased = true, .relative_error = 0};
}

void Raw::Encode(std::span<const float> values, RngStream& /*rng*/, ByteWriter& out) const {
  out.WriteSpan(std::as_bytes(values));
}

Result<> Raw::Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const {
  if (std::isinf(limits.magnitude_max)) return {};
  if (AllWithin(payload.first(count * sizeof(float)), limits.magnitude_max)) return {};
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
