#pragma once

#include <memory>

#include "fl/compression/codecs/leveller.h"

namespace fl {

struct LevelQuantizeConfig {
  float step = 0;           // In root mean squares of what is quantized; 0: the largest magnitude
                            // becomes level_max.
  bool stochastic = false;  // Rounds up with a chance equal to the fraction, so that the expected
                            // value is the value.
  std::uint32_t level_max = 32767;
};

// `quantize step=X [stochastic]`, and `quantize B` in front of an entropy code: levels of a uniform
// grid through zero, to the nearest; magnitudes beyond level_max become that.
class LevelQuantize final : public Leveller {
 public:
  explicit LevelQuantize(const LevelQuantizeConfig& config) : config_(config) {}

  CodecTraits traits() const override {
    return {.unbiased = config_.stochastic, .deterministic = !config_.stochastic};
  }
  std::uint32_t level_max() const override { return config_.level_max; }
  float StepFor(std::span<const float> values) const override;
  void Quantize(std::span<const float> values, float step, RngStream& rng,
                std::span<std::int16_t> levels) const override;

 private:
  LevelQuantizeConfig config_;
};

}  // namespace fl
