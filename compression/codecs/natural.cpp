#include "fl/compression/codecs/natural.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>

#include "fl/common/base/error_detail.h"
#include "fl/common/tensor/kernels/axpy.h"
#include "fl/compression/entropy/pack.h"
#include "fl/compression/kernels/pack_codes.h"
#include "fl/compression/kernels/powers.h"

namespace fl {
namespace {

constexpr std::uint32_t kExponentMax = 254;  // The next one stands for infinity.

bool HasSign(ByteSpan signs, std::size_t index) {
  return ((std::to_integer<unsigned>(signs[index / 8]) >> (index % 8)) & 1U) != 0;
}

}  // namespace

void Natural::Encode(std::span<const float> values, RngStream& rng, ByteWriter& out) const {
  const std::size_t start = out.size();
  out.bytes().resize(start + EncodedBytes(values.size()));
  const std::span<std::byte> exponents = std::span(out.bytes()).subspan(start, values.size());
  const std::span<std::byte> signs = std::span(out.bytes()).subspan(start + values.size());
  constexpr std::size_t kRun = 2048;  // Whole bytes of signs.
  std::array<std::uint32_t, kRun> words;
  std::array<std::uint8_t, kRun> powers;
  std::array<std::uint8_t, kRun> negative;
  for (std::size_t at = 0; at < values.size(); at += kRun) {
    const std::size_t size = std::min(kRun, values.size() - at);
    const auto drawn = std::span(words).first(size);
    const auto negatives = std::span(negative).first(size);
    rng.FillWords(drawn);
    kernels::RoundToPowers(values.subspan(at, size), drawn, std::span(powers).first(size),
                           negatives);
    std::memcpy(exponents.data() + at, powers.data(), size);
    kernels::PackWidth(negatives, 1, signs.subspan(at / 8, PackedBytes(size, 1)));
  }
}

Result<> Natural::Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const {
  const ByteSpan signs = payload.subspan(count);
  if (!PaddingIsZero(signs, count, 1))
    return Error{ErrorCode::kMalformed, "expected zero bits after the last sign",
                 ErrorDetail::kPaddingBits};
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto exponent = std::to_integer<std::uint32_t>(payload[i]);
    largest = std::max(largest, exponent);
    if (exponent == 0 && HasSign(signs, i)) {
      return Error{ErrorCode::kMalformed,
                   "value " + std::to_string(i) + ": expected no sign of a zero, found one",
                   ErrorDetail::kCodeNotShortest};
    }
  }
  if (largest > kExponentMax)
    return Error{ErrorCode::kNotFinite, "expected exponents up to 254, found 255",
                 ErrorDetail::kScaleNotFinite};
  const auto magnitude = std::bit_cast<float>(largest << 23);
  if (magnitude <= limits.magnitude_max) return {};
  return Error{ErrorCode::kLimitExceeded,
               "expected magnitudes of at most " + std::to_string(limits.magnitude_max) +
                   ", found " + std::to_string(magnitude),
               ErrorDetail::kValueTooLarge};
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
