#include "fl/compression/codecs/natural.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "fl/common/tensor/kernels/axpy.h"
#include "fl/compression/entropy/pack.h"

namespace fl {
namespace {

constexpr std::uint32_t kExponentMax = 254;  // The next one stands for infinity.

bool HasSign(ByteSpan signs, std::size_t index) {
  return ((std::to_integer<unsigned>(signs[index / 8]) >> (index % 8)) & 1U) != 0;
}

}  // namespace

// The fraction of a float's power of two is its significand: adding a random one carries into the
// exponent with just that chance, subnormal values included.
void Natural::Encode(std::span<const float> values, RngStream& rng, ByteWriter& out) const {
  const std::size_t start = out.size();
  out.bytes().resize(start + EncodedBytes(values.size()));
  const std::span<std::byte> exponents = std::span(out.bytes()).subspan(start, values.size());
  const std::span<std::byte> signs = std::span(out.bytes()).subspan(start + values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(values[i]);
    const std::uint32_t raised = (bits & 0x7FFFFFFFU) + (rng.NextU32() >> 9);
    const std::uint32_t exponent = std::min(raised >> 23, kExponentMax);
    exponents[i] = static_cast<std::byte>(exponent);
    if (exponent != 0 && (bits >> 31) != 0) {
      signs[i / 8] |= static_cast<std::byte>(1U << (i % 8));
    }
  }
}

Result<> Natural::Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const {
  const ByteSpan signs = payload.subspan(count);
  if (!PaddingIsZero(signs, count, 1))
    return Error{ErrorCode::kMalformed, "expected zero bits after the last sign"};
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto exponent = std::to_integer<std::uint32_t>(payload[i]);
    largest = std::max(largest, exponent);
    if (exponent == 0 && HasSign(signs, i)) {
      return Error{ErrorCode::kMalformed,
                   "value " + std::to_string(i) + ": expected no sign of a zero, found one"};
    }
  }
  if (largest > kExponentMax)
    return Error{ErrorCode::kNotFinite, "expected exponents up to 254, found 255"};
  const auto magnitude = std::bit_cast<float>(largest << 23);
  if (magnitude <= limits.magnitude_max) return {};
  return Error{ErrorCode::kLimitExceeded, "expected magnitudes of at most " +
                                              std::to_string(limits.magnitude_max) + ", found " +
                                              std::to_string(magnitude)};
}

void Natural::DecodeAdd(ByteSpan payload, std::size_t count, std::size_t first, float scale,
                        std::span<float> out) const {
  const ByteSpan signs = payload.subspan(count);
  constexpr std::size_t kRun = 512;
  std::array<float, kRun> run;
  for (std::size_t at = 0; at < out.size(); at += kRun) {
    const auto block = out.subspan(at, std::min(kRun, out.size() - at));
    for (std::size_t i = 0; i < block.size(); ++i) {
      const std::size_t index = first + at + i;
      const auto sign = std::to_integer<std::uint32_t>(signs[index / 8]) >> (index % 8) << 31;
      const auto exponent = std::to_integer<std::uint32_t>(payload[index]);
      run[i] = std::bit_cast<float>(sign | (exponent << 23));
    }
    kernels::Axpy(scale, std::span(run).first(block.size()), block);
  }
}

}  // namespace fl
