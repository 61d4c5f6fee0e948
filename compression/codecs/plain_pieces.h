#pragma once

#include <algorithm>

#include "fl/compression/codecs/value_coder.h"

namespace fl {

// Pieces for a coder that writes each value on its own, with nothing before them: any piece's bytes
// are what Encode gives for it alone.
class PlainPieces final : public PieceEncoder {
 public:
  explicit PlainPieces(const ValueCoder& values) : values_(values) {}

  bool measures() const override { return false; }
  void Measure(std::span<const float> /*piece*/) override {}
  void Begin(ByteWriter& /*out*/) override {}
  void Write(std::span<const float> piece, std::span<float> decoded, RngStream& rng,
             ByteWriter& out) override {
    const std::size_t start = out.size();
    values_.Encode(piece, rng, out);
    if (decoded.empty()) return;
    std::ranges::fill(decoded, 0.0F);
    values_.DecodeAdd(ByteSpan(out.bytes()).subspan(start), piece.size(), 0, 1.0F, decoded);
  }

 private:
  const ValueCoder& values_;  // The maker; it outlives this.
};

}  // namespace fl
