#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/compression/entropy/adaptive_bit.h"

// An adaptive binary range coder (Martin 1979; Rissanen & Langdon 1981), for symbols whose
// statistics both sides learn on the way. Integer arithmetic only: the same bytes on every machine.
//
// The code is a number in [0, 1), its digits are bytes; digits that are not written are zero. Each
// bit narrows the interval [low, low + range): zero takes the lower part. Finish writes the number
// of the last interval that has the fewest digits, and drops zeros at its end. So a message has one
// encoding, and one whose bits are all zero takes no bytes.
namespace fl {

// Appends one code to `out`, which outlives it.
class RangeEncoder {
 public:
  explicit RangeEncoder(ByteWriter& out) : out_(out.bytes()), start_(out.size()) {}

  void Encode(AdaptiveBit& model, bool bit) {
    const std::uint32_t zeros = (range_ >> 16) * (65536 - model.chance());
    if (bit) {
      low_ += zeros;
      range_ -= zeros;
    } else {
      range_ = zeros;
    }
    model.Update(bit);
    Normalize();
  }

  // `bits` bits that are all equally likely: value < 2^bits, bits <= 32.
  void EncodeUniform(std::uint32_t value, unsigned bits) {
    for (; bits > 16; bits -= 16) Narrow((value >> (bits - 16)) & 0xFFFFU, 16);
    Narrow(bits == 32 ? value : value & ((1U << bits) - 1), bits);
  }

  // Once, after the last symbol.
  void Finish();

 private:
  void Narrow(std::uint32_t value, unsigned bits) {
    range_ >>= bits;
    low_ += std::uint64_t{range_} * value;
    Normalize();
  }
  void Normalize() {
    if ((low_ >> 32) != 0) Carry();
    if (range_ < (1U << 24)) WriteDigits();
  }
  void WriteDigits();
  void Carry();

  Bytes& out_;
  std::size_t start_;
  std::uint64_t low_ = 0;  // Below 2^32 between calls.
  std::uint32_t range_ = 0xFFFFFFFFU;
};

// Reads one code that is all of a span, which outlives it. Any bytes give some symbols; whether
// they were written by RangeEncoder is known after the last one, by Finish. Never reads past the
// span; the time for a symbol is bounded.
class RangeDecoder {
 public:
  explicit RangeDecoder(ByteSpan bytes) : bytes_(bytes) {
    for (int i = 0; i < 4; ++i) code_ = (code_ << 8) | NextByte();
    if (code_ >= range_) Refuse();
  }

  bool Decode(AdaptiveBit& model) {
    const std::uint32_t zeros = (range_ >> 16) * (65536 - model.chance());
    const bool bit = code_ >= zeros;
    if (bit) {
      code_ -= zeros;
      low_ += zeros;
      range_ -= zeros;
    } else {
      range_ = zeros;
    }
    model.Update(bit);
    Normalize();
    return bit;
  }

  std::uint32_t DecodeUniform(unsigned bits) {
    std::uint32_t value = 0;
    for (; bits > 16; bits -= 16) value = (value << 16) | Narrow(16);
    return (value << bits) | Narrow(bits);
  }

  // What the caller read cannot have been written: Finish will say so.
  void Refuse() {
    code_ = 0;
    refused_ = true;
  }

  // Once, after the last symbol: kMalformed unless the span is, byte for byte, what RangeEncoder
  // writes for these symbols.
  Result<> Finish() const;

 private:
  std::uint32_t NextByte() {
    const std::uint32_t byte =
        next_ < bytes_.size() ? std::to_integer<std::uint32_t>(bytes_[next_]) : 0;
    ++next_;
    return byte;
  }
  std::uint32_t Narrow(unsigned bits) {
    range_ >>= bits;
    // Most are signs, for which a comparison tells what a division would.
    std::uint32_t value =
        bits == 1 && code_ >> 1 < range_ ? (code_ >= range_ ? 1 : 0) : code_ / range_;
    if (value >> bits != 0) {  // What rounding left over above the last value.
      value = (1U << bits) - 1;
      Refuse();
    } else {
      code_ -= value * range_;
    }
    low_ += value * range_;
    Normalize();
    return value;
  }
  void Normalize() {
    while (range_ < (1U << 24)) {
      code_ = (code_ << 8) | NextByte();
      low_ <<= 8;
      range_ <<= 8;
    }
  }

  ByteSpan bytes_;
  std::size_t next_ = 0;
  std::uint32_t code_ = 0;  // The number less low, below range.
  std::uint32_t low_ = 0;   // Modulo 2^32.
  std::uint32_t range_ = 0xFFFFFFFFU;
  bool refused_ = false;
};

// A number in [0, max] that is small more often than not, and learnt: unary as far as kUnary, then
// an Elias gamma code of the rest whose length is learnt, too. Both sides give the same max,
// < 2^31, each time.
class AdaptiveNumber {
 public:
  void Encode(RangeEncoder& encoder, std::uint32_t value, std::uint32_t max);
  // At most max, whatever the bytes; the decoder refuses a larger one.
  std::uint32_t Decode(RangeDecoder& decoder, std::uint32_t max);

 private:
  static constexpr std::uint32_t kUnary = 14;
  std::array<AdaptiveBit, kUnary> above_;
  std::array<AdaptiveBit, 32> longer_;
};

// A number in [-max, max] that is small more often than not, and learnt: is it zero, its sign, its
// magnitude. Signs take one bit each.
class AdaptiveLevel {
 public:
  void Encode(RangeEncoder& encoder, std::int32_t level, std::uint32_t max);
  std::int32_t Decode(RangeDecoder& decoder, std::uint32_t max);

 private:
  AdaptiveBit nonzero_;
  AdaptiveNumber magnitude_;
};

}  // namespace fl
