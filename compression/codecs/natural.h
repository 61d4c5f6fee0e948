#pragma once

#include "fl/compression/codecs/value_coder.h"

namespace fl {

// `natural`: the sign and a power of two, up or down with the chances that make the expected value
// the value (Horvath et al. 2022, arXiv:1905.10988): 9 bits a value; the variance is at most an
// eighth of the square.
//   natural  = exponents signs
//   exponents = { exponent:u8 }     magnitude = 2^(exponent - 127), or 0 for exponent 0; 255 unused
//   signs    = a bit for each value, lower bits first, zero padded; a zero has none
//
// Below 2^-126 the choice is between that and zero; from 2^127 on the power is 2^127.
class Natural final : public ValueCoder {
 public:
  CodecTraits traits() const override {
    return {.unbiased = true, .deterministic = false, .relative_error = 0.125};
  }
  std::size_t EncodedBytes(std::size_t count) const override { return count + (count + 7) / 8; }
  void Encode(std::span<const float> values, RngStream& rng, ByteWriter& out) const override;
  Result<> Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const override;
  void DecodeAdd(ByteSpan payload, std::size_t count, std::size_t first, float scale,
                 std::span<float> out) const override;
};

}  // namespace fl
