#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "fl/common/base/guarded.h"
#include "fl/compression/codec.h"

namespace fl {

// Which of a segment's coordinates a round trains, ascending and the same number in each round.
using TrainedCoordinates = std::function<std::vector<std::uint32_t>(std::uint64_t round)>;

// A segment of which a round trains and sends a part alone, as `narrow`, a codec for the part's
// shape, writes it; all other coordinates decode to zero, and what a residual holds for them stays
// for their turn. The payload is that of the part. Updates add up as values and, in equal number,
// the weight that each coordinate was sent with; a coordinate's mean is over those who sent it,
// whatever rounds they are of: 0 where nobody did.
class Narrowed final : public Codec {
 public:
  Narrowed(std::size_t count, TrainedCoordinates trained, std::unique_ptr<Codec> narrow);
  ~Narrowed() override;

  CodecTraits traits() const override;
  std::size_t count() const override { return count_; }
  std::size_t EncodedBytesMax() const override { return narrow_->EncodedBytesMax(); }
  void Encode(std::span<const float> values, std::span<float> decoded,
              const RoundParameters& parameters, RngStream rng, ByteWriter& out) const override;
  Result<std::unique_ptr<ParsedPayload>> Parse(ByteSpan payload, const RoundParameters& parameters,
                                               const PayloadLimits& limits) const override;
  void DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                 std::span<float> out) const override;
  const Codec* summed() const override;
  void Estimate(std::span<const float> sum, std::size_t first, std::span<float> out) const override;

 private:
  class Weighted;
  using Coordinates = std::shared_ptr<const std::vector<std::uint32_t>>;
  struct Remembered {
    std::uint64_t round = 0;
    Coordinates coordinates;
  };

  Coordinates CoordinatesOf(std::uint64_t round) const;

  std::size_t count_;
  TrainedCoordinates trained_;
  std::unique_ptr<Codec> narrow_;
  std::unique_ptr<const Weighted> weighted_;
  mutable Guarded<Remembered> remembered_;  // The round that was asked for last.
};

}  // namespace fl
