#pragma once

#include <cstdint>

#include "fl/compression/codec.h"

namespace fl {

struct SharedQuantizeConfig {
  unsigned bits = 8;        // Of a level, 2 to 8.
  bool stochastic = false;  // As in QuantizeConfig.
  float range = 1.0F;       // The recipe's own range, finite and > 0: what InitialParameters holds.
  std::size_t parameters_offset = 0;  // Where this codec's part of the round's parameters begins.
};

// `quantize B scale=shared [stochastic] [range=X]`: all clients of a round use one grid, from the
// round's parameters, so that levels are summed as integers and scaled once: sum over clients of
// value = step * sum of levels.
//
//   payload    = codes             count * B bits as in Quantize; level = code - (2^(B-1) - 1),
//   code 2^B - 1 unused parameters = range:f32         this codec's part; step = range / (2^(B-1) -
//   1)
//
// Values beyond the range become its ends; the residual keeps the rest.
class SharedQuantize final : public Codec {
 public:
  SharedQuantize(const SharedQuantizeConfig& config, std::size_t count)
      : config_(config), count_(count) {}

  CodecTraits traits() const override;
  std::size_t count() const override { return count_; }
  std::size_t EncodedBytesMax() const override;
  Bytes InitialParameters() const override;
  Result<> CheckParameters(const RoundParameters& parameters) const override;
  // Here and in Encode the parameters are ones that Parse accepts.
  std::unique_ptr<PieceEncoder> EncodePieces(const RoundParameters& parameters) const override;
  void Encode(std::span<const float> values, std::span<float> decoded,
              const RoundParameters& parameters, RngStream rng, ByteWriter& out) const override;
  // kInvalidArgument when the parameters do not hold a finite range above 0.
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
  int level_max() const { return (1 << (config_.bits - 1)) - 1; }
  Result<float> ReadStep(const RoundParameters& parameters) const;

  SharedQuantizeConfig config_;
  std::size_t count_;
};

}  // namespace fl
