#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fl/compression/codecs/kept_share.h"
#include "fl/compression/codecs/value_coder.h"

namespace fl {

// `top_k F% [warmup=N [from=P%]]`: keeps the largest magnitudes of the whole segment and drops the
// rest, which is the caller's residual (Aji & Heafield 2017, arXiv:1704.05021). Ties keep the lower
// index and zeros are never kept, so encoding is deterministic. The kept values go through a value
// coder.
//
//   top_k  = { block } values             a block for each 65536 coordinates, the last one shorter
//   block  = count:varint gaps            kept coordinates of the block
//   gaps   = { quotient:unary rest:b }    bits, the lowest first, zero padded to a byte
//   values                                as the value coder writes them, in coordinate order
//
// A gap is the distance from the coordinate before (of the first: its index in the block) less one.
// Rice coding: quotient = gap >> b as that many ones and a zero; b follows from the block's size
// and count (RiceWidth), so it does not travel. Each block starts afresh: a decoder may begin at
// any.
class TopK final : public Codec {
 public:
  // During a warm-up more is kept, by the round that the encoder is told; a decoder takes as many
  // as any round keeps.
  TopK(std::unique_ptr<ValueCoder> values, std::size_t count, const KeptShare& kept)
      : values_(std::move(values)),
        count_(count),
        kept_(kept),
        keep_max_(kept.LargestCount(count)) {}

  CodecTraits traits() const override;
  std::size_t count() const override { return count_; }
  std::size_t EncodedBytesMax() const override;
  void Encode(std::span<const float> values, std::span<float> decoded,
              const RoundParameters& parameters, RngStream rng, ByteWriter& out) const override;
  Result<std::unique_ptr<ParsedPayload>> Parse(ByteSpan payload, const RoundParameters& parameters,
                                               const PayloadLimits& limits) const override;
  void DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                 std::span<float> out) const override;

 private:
  std::unique_ptr<ValueCoder> values_;
  std::size_t count_;
  KeptShare kept_;
  std::size_t keep_max_;
};

// The codec that a chain asks for, its head being top_k.
Result<std::unique_ptr<Codec>> BuildTopK(const Chain& chain, const Shape& shape);

}  // namespace fl
