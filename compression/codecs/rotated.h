#pragma once

#include <cstdint>
#include <memory>

#include "fl/compression/codecs/rotation.h"
#include "fl/compression/codecs/value_coder.h"

namespace fl {

struct RotatedConfig {
  std::size_t block = 1024;           // Of the rotation: a power of two, 64 to 4096.
  bool shared = false;                // The seed is the round's; else each message's own.
  std::size_t parameters_offset = 0;  // Where this codec's part of the round's parameters begins.
};

// `hadamard N [seed=own|shared] | values [| entropy]`: the segment is rotated (codecs/rotation.h)
// before its values are written, and back after they are read, so that a uniform grid suits any
// values and an error spreads over a block. With seed=shared and a grid that is shared, too, all
// clients' levels are of the same rotated coordinates: they are summed as integers, and Finish
// makes one inverse rotation of the sum. (QUIC-FL: Ben Basat et al. 2024, arXiv:2205.13341; THC: Li
// et al. 2024.)
//
//   hadamard   = [ seed:u32 ] values      the seed with seed=own; values as their stage writes them
//   parameters = seed:u32 parameters of the values               with seed=shared
//
// DecodeAdd rotates back whole units, so blocks that begin and end at multiples of N are cheapest;
// Finish takes no others (or up to the segment's end). A decoded magnitude is at most the square
// root of N times the largest of a rotated value, and it is that which the limit is for.
class Rotated final : public Codec {
 public:
  Rotated(const RotatedConfig& config, std::unique_ptr<Codec> values);

  CodecTraits traits() const override;
  std::size_t count() const override { return values_->count(); }
  std::size_t EncodedBytesMax() const override;
  Bytes InitialParameters() const override;
  Result<> CheckParameters(const RoundParameters& parameters) const override;
  void Encode(std::span<const float> values, std::span<float> decoded,
              const RoundParameters& parameters, RngStream rng, ByteWriter& out) const override;
  // kInvalidArgument when the parameters have no seed.
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
  RotationUnits row() const { return {config_.block, count()}; }
  void EncodeUnits(std::uint32_t seed, std::span<const float> values, std::span<float> decoded,
                   PieceEncoder& pieces, RngStream& rng, ByteWriter& out) const;
  Result<std::uint32_t> ReadSharedSeed(const RoundParameters& parameters) const;

  RotatedConfig config_;
  std::unique_ptr<Codec> values_;
};

// The codec that a chain asks for, its head being hadamard.
Result<std::unique_ptr<Codec>> BuildRotated(const Chain& chain, const Shape& shape,
                                            std::size_t parameters_offset);

}  // namespace fl
