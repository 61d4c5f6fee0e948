#include "fl/compression/entropy/range_coder.h"

#include <bit>

#include "fl/common/base/error_detail.h"

namespace fl {
namespace {

// How far above low the number lies that Finish writes: the number in [low, low + range) with the
// fewest digits, of those the least. Low and range are in units of the fourth digit.
std::uint32_t ShortestOffset(std::uint32_t low, std::uint32_t range) {
  for (unsigned dropped = 32;; dropped -= 8) {
    const std::uint64_t unit = std::uint64_t{1} << dropped;
    const std::uint64_t number = (low + unit - 1) & ~(unit - 1);
    if (number - low < range) return static_cast<std::uint32_t>(number - low);
  }
}

}  // namespace

void RangeEncoder::WriteDigits() {
  for (; range_ < (1U << 24); range_ <<= 8) {
    out_.push_back(static_cast<std::byte>(low_ >> 24));
    low_ = (low_ << 8) & 0xFFFFFFFFU;
  }
}

void RangeEncoder::Carry() {
  low_ &= 0xFFFFFFFFU;
  // Low is below the end of the first interval, so that the carry ends inside this code.
  for (auto digit = out_.rbegin();; ++digit) {
    *digit = static_cast<std::byte>(std::to_integer<unsigned>(*digit) + 1);
    if (*digit != std::byte{0}) break;
  }
}

void RangeEncoder::Finish() {
  low_ += ShortestOffset(static_cast<std::uint32_t>(low_), range_);
  if ((low_ >> 32) != 0) Carry();
  for (int i = 0; i < 4; ++i, low_ <<= 8) out_.push_back(static_cast<std::byte>(low_ >> 24));
  while (out_.size() > start_ && out_.back() == std::byte{0}) out_.pop_back();
}

Result<> RangeDecoder::Finish() const {
  const bool shortest = code_ == ShortestOffset(low_, range_) && bytes_.size() <= next_ &&
                        (bytes_.empty() || bytes_.back() != std::byte{0});
  if (!refused_ && shortest) return {};
  return Error{ErrorCode::kMalformed, "expected the shortest code of what it says, found another",
               ErrorDetail::kCodeNotShortest};
}

void AdaptiveNumber::Encode(RangeEncoder& encoder, std::uint32_t value, std::uint32_t max) {
  for (std::uint32_t i = 0; i < std::min(kUnary, max); ++i) {
    encoder.Encode(above_[i], value > i);
    if (value <= i) return;
  }
  if (max <= kUnary) return;
  const std::uint32_t rest = value - kUnary + 1;
  const auto length = static_cast<unsigned>(std::bit_width(rest)) - 1;
  const auto length_max = static_cast<unsigned>(std::bit_width(max - kUnary + 1)) - 1;
  for (unsigned i = 0; i < length_max; ++i) {
    encoder.Encode(longer_[i], length > i);
    if (length <= i) break;
  }
  encoder.EncodeUniform(rest - (1U << length), length);
}

std::uint32_t AdaptiveNumber::Decode(RangeDecoder& decoder, std::uint32_t max) {
  for (std::uint32_t i = 0; i < std::min(kUnary, max); ++i) {
    if (!decoder.Decode(above_[i])) return i;
  }
  if (max <= kUnary) return max;
  const auto length_max = static_cast<unsigned>(std::bit_width(max - kUnary + 1)) - 1;
  unsigned length = 0;
  while (length < length_max && decoder.Decode(longer_[length])) ++length;
  const std::uint32_t value = kUnary - 1 + (1U << length) + decoder.DecodeUniform(length);
  if (value <= max) return value;
  decoder.Refuse();
  return max;
}

void AdaptiveLevel::Encode(RangeEncoder& encoder, std::int32_t level, std::uint32_t max) {
  if (max == 0) return;
  encoder.Encode(nonzero_, level != 0);
  if (level == 0) return;
  encoder.EncodeUniform(level < 0 ? 1 : 0, 1);
  const auto magnitude = static_cast<std::uint32_t>(level < 0 ? -level : level);
  magnitude_.Encode(encoder, magnitude - 1, max - 1);
}

std::int32_t AdaptiveLevel::Decode(RangeDecoder& decoder, std::uint32_t max) {
  if (max == 0 || !decoder.Decode(nonzero_)) return 0;
  const bool negative = decoder.DecodeUniform(1) != 0;
  const auto magnitude = static_cast<std::int32_t>(magnitude_.Decode(decoder, max - 1)) + 1;
  return negative ? -magnitude : magnitude;
}

}  // namespace fl
