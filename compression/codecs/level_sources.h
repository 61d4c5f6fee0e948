#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/random/rng_stream.h"
#include "fl/compression/codecs/leveller.h"
#include "fl/compression/entropy/level_source.h"
#include "fl/compression/kernels/find_levels.h"

namespace fl::internal {

// A segment's levels, made from its values while they are read: each time anew, which takes less
// time than memory for all. Leveller and values outlive this.
class ScaledLevels : public LevelSource {
 public:
  // What they are levels of; step 0: all are zero, and they must not be read. The offsets are known
  // once all were read.
  virtual LevelScale scale() const = 0;
};

// Of all values.
class AllLevels final : public ScaledLevels {
 public:
  AllLevels(const Leveller& leveller, std::span<const float> values, const RngStream& rng);
  LevelScale scale() const override;
  void Restart() override;
  void Next(std::span<std::int16_t> out) override;

 private:
  const Leveller& leveller_;
  std::span<const float> values_;
  float step_;
  RngStream start_;
  RngStream rng_;
  std::size_t next_ = 0;
  std::size_t measured_ = 0;  // How many levels are in the offsets.
  kernels::LevelOffsets offsets_;
};

// Of the `keep` largest magnitudes; all others are zero.
class KeptLevels final : public ScaledLevels {
 public:
  KeptLevels(const Leveller& leveller, std::span<const float> values, std::size_t keep,
             RngStream rng);
  LevelScale scale() const override { return {.step = step_}; }
  void Restart() override;
  void Next(std::span<std::int16_t> out) override;

 private:
  std::vector<std::uint32_t> places_;
  std::vector<std::int16_t> levels_;
  float step_;
  std::size_t at_ = 0;    // Of the segment.
  std::size_t next_ = 0;  // The first kept one that is not before that.
};

}  // namespace fl::internal
