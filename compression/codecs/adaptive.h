#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fl/compression/codec.h"
#include "fl/compression/rate/budget.h"
#include "fl/compression/stage.h"

namespace fl {

// What AdaptiveCodec can write a segment as. The numbers travel: append only. A rank R is kLowRank
// + R.
enum class AdaptiveChoice : std::uint8_t {
  kRaw = 0,
  kDeadZone = 1,
  kTopK = 2,
  kQuantize = 3,
  kLowRank = 64,
};
// Low rank of a rank of 1 to 64.
constexpr AdaptiveChoice LowRankChoice(unsigned rank) {
  return static_cast<AdaptiveChoice>(static_cast<unsigned>(AdaptiveChoice::kLowRank) + rank);
}

// A choice and what its encoder is told: a step in root mean squares (dead_zone, quantize,
// low_rank), a share in (0, 1] (top_k), nothing (raw).
struct AdaptiveSetting {
  AdaptiveChoice choice = AdaptiveChoice::kRaw;
  double parameter = 0;
};
// The same recipe with `times` the step, or as much smaller a share, as far as the recipe goes.
AdaptiveSetting Coarser(const AdaptiveSetting& setting, double times);
// As one would write it in a plan: "low_rank 6 | quantize step=2 | context".
std::string ToText(const AdaptiveSetting& setting);
// What a payload of `auto` was written as, without what only its encoder knows: "low_rank 6",
// "nothing".
std::string AdaptiveChoiceOf(ByteSpan payload);

// `auto bytes=60KB`, and what else rate/budget.h says: the sender chooses how each segment is
// written, so that the whole update takes at most that many bytes and leaves out as little as it
// can (rate/encode_within.h).
//
//   auto   = nothing                       all values are zero
//          | choice:u8 payload             of the recipe that the choice stands for, not empty
//   choice = 0   raw
//          | 1   dead_zone S | context
//          | 2   top_k F% | ternary | context
//          | 3   quantize step=S | context
//          | 64 + R   low_rank R | quantize step=S | context     R at most 64, the rows, the
//          columns
//
// The steps and shares are the encoder's alone: decoding needs the choice only. A payload is never
// longer than bytes=, nor than the raw values and a byte. Encode on its own takes all of bytes= for
// its segment; EncodeSegments shares what a round and a client may take among all of them.
class AdaptiveCodec final : public Codec {
 public:
  AdaptiveCodec(const rate::BudgetRule& budget, Shape shape);

  CodecTraits traits() const override { return {.deterministic = false}; }
  std::size_t count() const override { return shape_.count(); }
  std::size_t EncodedBytesMax() const override;
  void Encode(std::span<const float> values, std::span<float> decoded,
              const RoundParameters& parameters, RngStream rng, ByteWriter& out) const override;
  Result<std::unique_ptr<ParsedPayload>> Parse(ByteSpan payload, const RoundParameters& parameters,
                                               const PayloadLimits& limits) const override;
  void DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                 std::span<float> out) const override;

  // Of the whole update's body.
  const rate::BudgetRule& budget() const { return budget_; }
  const Shape& shape() const { return shape_; }
  // The segment as a matrix, its last axis in columns.
  std::size_t columns() const;
  std::size_t rows() const { return count() / columns(); }
  // The largest rank that can be chosen; 0: the segment is no matrix.
  unsigned rank_max() const;

  // The payload for a setting that fits the shape.
  Bytes EncodeAs(const AdaptiveSetting& setting, std::span<const float> values,
                 std::span<float> decoded, const RngStream& rng) const;

 private:
  struct Parsed;

  rate::BudgetRule budget_;
  Shape shape_;
};

// The codec that `auto` asks for, alone in its chain.
Result<std::unique_ptr<Codec>> BuildAdaptive(const Chain& chain, const Shape& shape);

}  // namespace fl
