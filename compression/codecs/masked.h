#pragma once

#include <memory>
#include <vector>

#include "fl/common/base/guarded.h"
#include "fl/compression/codecs/shared_support.h"
#include "fl/compression/codecs/value_coder.h"

namespace fl {

struct MaskedConfig {
  std::size_t count = 0;              // Of the segment.
  float factor = 1.0F;                // Of what is decoded: the inverse of a coordinate's chance.
  std::size_t parameters_offset = 0;  // Where this codec's part of the round's parameters begins.
};

// What `shared_mask` and `announced` have in common: all clients of a round send the same
// coordinates, so that no index travels and sums are of the same things. The kept values lie one
// behind the other and are written by the value stage; all others decode to zero.
//
//   masked     = values                    as their stage writes a row of the kept coordinates
//   parameters = part parameters of the values
//
// How many coordinates are kept depends on the round where the segment's last block is shorter; an
// update's bytes say nothing about it. Decoding costs the kept coordinates only. Where the values
// sum as integers so does this. kInvalidArgument when the round's parameters are too short or not
// the rule's.
class Masked final : public Codec {
 public:
  // `values`: a codec for each number of coordinates that can be kept, of granularity 1.
  Masked(const MaskedConfig& config, std::unique_ptr<SupportRule> rule,
         std::vector<std::unique_ptr<Codec>> values);

  CodecTraits traits() const override;
  std::size_t count() const override { return config_.count; }
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
  void DecodeAddIntegers(const ParsedPayload& payload, std::size_t first,
                         std::span<std::int64_t> out) const override;
  void Finish(std::span<const std::int64_t> sum, std::size_t summands,
              const RoundParameters& parameters, std::size_t first,
              std::span<float> out) const override;

 private:
  // The last support that was asked for: a round's updates share theirs.
  struct Remembered {
    Bytes part;
    std::shared_ptr<const SharedSupport> support;
  };

  Result<std::shared_ptr<const SharedSupport>> SupportOf(const RoundParameters& parameters) const;
  const Codec& ValuesFor(const SharedSupport& support) const;

  MaskedConfig config_;
  std::unique_ptr<SupportRule> rule_;
  std::vector<std::unique_ptr<Codec>> values_;
  mutable Guarded<Remembered> remembered_;
};

// The codec of a chain whose head has become a rule. `unbiased`: decoded values are multiplied by
// the inverse of the share of blocks that is kept.
Result<std::unique_ptr<Codec>> BuildMasked(const Chain& chain, const Shape& shape,
                                           std::unique_ptr<SupportRule> rule, bool unbiased,
                                           std::size_t parameters_offset);

}  // namespace fl
