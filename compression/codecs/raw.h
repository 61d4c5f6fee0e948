#pragma once

#include "fl/compression/codecs/plain_pieces.h"

namespace fl {

// `raw`: fp32, little-endian, bit for bit.
//   raw = { value:f32 }
class Raw final : public ValueCoder {
 public:
  CodecTraits traits() const override;
  std::size_t EncodedBytes(std::size_t count) const override { return count * sizeof(float); }
  void Encode(std::span<const float> values, RngStream& rng, ByteWriter& out) const override;
  std::unique_ptr<PieceEncoder> EncodePieces() const override {
    return std::make_unique<PlainPieces>(*this);
  }
  Result<> Check(ByteSpan payload, std::size_t count, const PayloadLimits& limits) const override;
  void DecodeAdd(ByteSpan payload, std::size_t count, std::size_t first, float scale,
                 std::span<float> out) const override;
};

}  // namespace fl
