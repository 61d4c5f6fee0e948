#pragma once

#include <memory>
#include <vector>

#include "fl/compression/codec.h"

namespace fl {

// `A + B`, `A + B + C`: each part codes what those before it left out, so that the residual is what
// all of them left out together: `low_rank 4 | quantize step=2 + top_k 0.1% | ternary`. (Low rank
// and sparse: Zhou & Tao 2011, GoDec; Peng et al. 2018, for gradients.)
//
//   split = { length:varint part } part      a length for each part but the last
//
// value = that of the first part, then the others added in their order. Each part may use its
// share of the limit: magnitude_max over the number of parts. The round's parameters are those of
// the parts, one behind the other.
class Split final : public Codec {
 public:
  // At least two parts, of the same count, none of which is linear.
  explicit Split(std::vector<std::unique_ptr<Codec>> parts);

  // Unbiased where the last part is, which sees all that the others left out; never lossless, since
  // the parts' sum is rounded.
  CodecTraits traits() const override;
  std::size_t count() const override { return parts_.front()->count(); }
  std::size_t EncodedBytesMax() const override;
  Bytes InitialParameters() const override;
  Bytes NextParameters(ByteSpan part, const RoundFeedback& feedback) const override;
  Result<> CheckParameters(const RoundParameters& parameters) const override;
  void Encode(std::span<const float> values, std::span<float> decoded,
              const RoundParameters& parameters, RngStream rng, ByteWriter& out) const override;
  Result<std::unique_ptr<ParsedPayload>> Parse(ByteSpan payload, const RoundParameters& parameters,
                                               const PayloadLimits& limits) const override;
  void DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                 std::span<float> out) const override;

 private:
  std::vector<std::unique_ptr<Codec>> parts_;
};

}  // namespace fl
