#pragma once

#include "fl/compression/codecs/plain_pieces.h"

namespace fl {

// `fp16`: IEEE binary16, little-endian, rounded to nearest even; values beyond 65504 become 65504
// (the residual keeps the rest).
//   fp16 = { value:f16 }
class Fp16 final : public ValueCoder {
 public:
  CodecTraits traits() const override { return {}; }
  std::size_t EncodedBytes(std::size_t count) const override { return count * 2; }
  void Encode(std::span<const float> values, RngStream& rng, ByteWriter& out) const override;
  std::unique_ptr<PieceEncoder> EncodePieces() const override {
    return std::make_unique<PlainPieces>(*this);
  }
  Result<> Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const override;
  void DecodeAdd(ByteSpan payload, std::size_t count, std::size_t first, float scale,
                 std::span<float> out) const override;
};

}  // namespace fl
