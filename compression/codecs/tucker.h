#pragma once

#include <memory>

#include "fl/compression/codecs/value_coder.h"

namespace fl {

struct TuckerConfig {
  unsigned rank_in = 8;   // 1 to kLowRankMax; less where the kernel has less.
  unsigned rank_out = 8;  // Likewise.
  std::unique_ptr<ValueCoder> factors;
};

// `tucker RI RO`: a convolution's kernel (height x width x in x out) as a small kernel between two
// thin matrices, so that its channels are mixed from RI and to RO (Tucker 1966; Kim et al. 2016,
// arXiv:1511.06530):
//
//   value[p, i, o] = sum over b of (sum over a of U[i, a] * core[p, a, b]) * V[o, b]
//
// p being the place in the window, all sums in order. Leading directions of the input channels
// first, of what they keep the output channels', each with four power iterations from an own random
// start, then the core; each is the least-squares fit to those before it as they were rounded.
//
//   tucker = values of U, in x RI, row by row   as the value coder writes them, each at once
//            values of V, out x RO
//            values of core, places x RI x RO
//
// Worth it where both channel counts are large (64 and more); low_rank sees a kernel as one matrix
// and is better elsewhere. Encoding draws from RngStream::Normal and is the same wherever that is;
// decoding gives the same bits everywhere.
class Tucker final : public Codec {
 public:
  // The shape has four axes.
  Tucker(TuckerConfig config, const Shape& shape);

  CodecTraits traits() const override { return {.deterministic = false}; }
  std::size_t count() const override { return places_ * in_ * out_; }
  // Of U, V and the core together.
  std::size_t factor_values() const;
  std::size_t EncodedBytesMax() const override;
  void Encode(std::span<const float> values, std::span<float> decoded,
              const RoundParameters& parameters, RngStream rng, ByteWriter& out) const override;
  Result<std::unique_ptr<ParsedPayload>> Parse(ByteSpan payload, const RoundParameters& parameters,
                                               const PayloadLimits& limits) const override;
  void DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                 std::span<float> out) const override;

 private:
  struct Parsed;

  TuckerConfig config_;
  std::size_t places_ = 0;  // Height times width.
  std::size_t in_ = 0;
  std::size_t out_ = 0;
  std::size_t rank_in_ = 0;
  std::size_t rank_out_ = 0;
};

// The codec that a chain asks for, its head being tucker.
Result<std::unique_ptr<Codec>> BuildTucker(const Chain& chain, const Shape& shape);

}  // namespace fl
