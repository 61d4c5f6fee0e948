#pragma once

#include <memory>

#include "fl/compression/codecs/value_coder.h"

namespace fl {

// A value coder over every coordinate of the segment: `raw`, `fp16`, `quantize 8`.
class DenseCodec final : public Codec {
 public:
  DenseCodec(std::unique_ptr<ValueCoder> values, std::size_t count)
      : values_(std::move(values)), count_(count) {}

  CodecTraits traits() const override { return values_->traits(); }
  std::size_t count() const override { return count_; }
  std::size_t EncodedBytesMax() const override { return values_->EncodedBytes(count_); }
  std::unique_ptr<PieceEncoder> EncodePieces(const RoundParameters& parameters) const override;
  void Encode(std::span<const float> values, std::span<float> decoded,
              const RoundParameters& parameters, RngStream rng, ByteWriter& out) const override;
  Result<std::unique_ptr<ParsedPayload>> Parse(ByteSpan payload, const RoundParameters& parameters,
                                               const PayloadLimits& limits) const override;
  void DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                 std::span<float> out) const override;

 private:
  std::unique_ptr<ValueCoder> values_;
  std::size_t count_;
};

// The codec that a chain of a value stage alone asks for. `parameters_offset`: where its part of
// the round's parameters begins.
Result<std::unique_ptr<Codec>> BuildDense(const Chain& chain, const Shape& shape,
                                          std::size_t parameters_offset);

}  // namespace fl
