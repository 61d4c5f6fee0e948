#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <span>

#include "fl/common/random/rng_stream.h"
#include "fl/compression/codec.h"

namespace fl {

// What a level stands for: sign x step x (magnitude + offset / 256), the first offset for magnitude
// 1, the second for all above.
struct LevelScale {
  float step = 0;                         // A bf16, finite; 0 where all levels are zero, else > 0.
  std::array<std::int16_t, 2> offsets{};  // -128 to 127; zero for magnitudes that do not occur.

  // In [0.5, 1.5) times the step and more.
  float Magnitude(std::uint32_t magnitude) const {
    const std::int32_t offset = offsets[magnitude == 1 ? 0 : 1];
    return step * (static_cast<float>(static_cast<std::int32_t>(magnitude * 256) + offset) / 256);
  }
  // level != 0.
  float ValueOf(std::int32_t level) const {
    return level < 0 ? -Magnitude(static_cast<std::uint32_t>(-level))
                     : Magnitude(static_cast<std::uint32_t>(level));
  }
};

// The lossy step of a chain whose levels go through an entropy code: values, which are finite, to
// integers. Stateless and immutable. Thread safety: shared objects safe.
class Leveller {
 public:
  virtual ~Leveller() = default;

  virtual CodecTraits traits() const = 0;
  // The largest magnitude of a level, 1 to 32767.
  virtual std::uint32_t level_max() const = 0;
  // Whether its scales have offsets; else they are zero and do not travel.
  virtual bool has_offsets() const { return false; }
  // The step of these values' levels; 0 where all levels are zero.
  virtual float StepFor(std::span<const float> values) const = 0;
  // levels[i] = the level of values[i], any block of those that the step, > 0, is for; the blocks
  // one after the other draw from one stream.
  virtual void Quantize(std::span<const float> values, float step, RngStream& rng,
                        std::span<std::int16_t> levels) const = 0;
};

namespace internal {

// The root of the mean square, summed up in a fixed order; 0 of no values.
float RootMeanSquare(std::span<const float> values);
// factor x value as the bf16 at or above it, at least the smallest that is no denormal where it is
// > 0.
float StepOf(double value);

}  // namespace internal
}  // namespace fl
