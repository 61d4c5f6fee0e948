#pragma once

#include <memory>

#include "fl/compression/codec.h"
#include "fl/compression/stage.h"

namespace fl {

// `threshold X`: keeps the values whose magnitude is above X times the segment's root mean square
// and drops the rest, which is the caller's residual. How many are kept depends on the values: many
// where they are alike, few where they are spread wide; fewer than count / X^2 in any case
// (Chebyshev), so that a payload has a bound.
//   threshold = top_k                     the format of `top_k` (codecs/top_k.h) with that bound
class Threshold final : public Codec {
 public:
  // `kept` keeps what is not zero, as many as can be above the threshold.
  Threshold(double multiple, std::unique_ptr<Codec> kept)
      : multiple_(multiple), kept_(std::move(kept)) {}

  // It may keep nothing at all.
  CodecTraits traits() const override {
    CodecTraits traits = kept_->traits();
    traits.relative_error.reset();
    return traits;
  }
  std::size_t count() const override { return kept_->count(); }
  std::size_t EncodedBytesMax() const override { return kept_->EncodedBytesMax(); }
  void Encode(std::span<const float> values, std::span<float> decoded,
              const RoundParameters& parameters, RngStream rng, ByteWriter& out) const override;
  Result<std::unique_ptr<ParsedPayload>> Parse(ByteSpan payload, const RoundParameters& parameters,
                                               const PayloadLimits& limits) const override;
  void DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                 std::span<float> out) const override;

 private:
  double multiple_;
  std::unique_ptr<Codec> kept_;
};

// The codec that a chain asks for, its head being threshold.
Result<std::unique_ptr<Codec>> BuildThreshold(const Chain& chain, const Shape& shape);

}  // namespace fl
