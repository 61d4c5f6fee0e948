#pragma once

#include <memory>
#include <optional>

#include "fl/compression/codecs/kept_share.h"
#include "fl/compression/codecs/level_sources.h"
#include "fl/compression/codecs/leveller.h"
#include "fl/compression/entropy/level_code.h"
#include "fl/compression/stage.h"

namespace fl {

struct LevelCodecConfig {
  LevelSpace space;               // max is the leveller's.
  std::optional<KeptShare> kept;  // Those with the largest magnitudes; none: all values.
  std::optional<LevelCode> code;  // None: the one that takes the fewest bytes, each time.
};

// Values to integer levels, levels to bytes by an entropy code: `dead_zone 4`,
// `top_k 1% | ternary | context`, `quantize step=2 | rans`.
//
//   payload = nothing                              all values are zero
//           | step:bf16 [offsets] [code:u8] levels
//   offsets = first:i8 rest:i8                     dead_zone only
//   code                                           where the recipe names none;
//   entropy/level_code.h
//
// A level of magnitude m > 0 is sign x step x (m + offset / 256), the first offset for m = 1, the
// rest for all above. As a matrix, a tensor has its last axis in columns; a vector, or a tensor
// with more than 131072 columns, has rows of 64.
class LevelCodec final : public Codec {
 public:
  LevelCodec(std::unique_ptr<Leveller> leveller, const LevelCodecConfig& config);

  CodecTraits traits() const override { return leveller_->traits(); }
  std::size_t count() const override { return config_.space.count; }
  std::size_t EncodedBytesMax() const override;
  void Encode(std::span<const float> values, std::span<float> decoded,
              const RoundParameters& parameters, RngStream rng, ByteWriter& out) const override;
  Result<std::unique_ptr<ParsedPayload>> Parse(ByteSpan payload, const RoundParameters& parameters,
                                               const PayloadLimits& limits) const override;
  void DecodeAdd(const ParsedPayload& payload, std::size_t first, float scale,
                 std::span<float> out) const override;

 private:
  void EncodeLevels(internal::ScaledLevels& levels, std::span<float> decoded,
                    ByteWriter& out) const;
  Result<LevelScale> ReadScale(ByteReader& reader) const;

  std::unique_ptr<Leveller> leveller_;
  LevelCodecConfig config_;
};

// Whether a chain's values are levels for an entropy code.
bool HasLevels(const Chain& chain);
// The codec that such a chain asks for, alone or after top_k.
Result<std::unique_ptr<Codec>> BuildLevels(const Chain& chain, const Shape& shape);

}  // namespace fl
