#pragma once

#include <memory>

#include "fl/compression/codecs/leveller.h"

namespace fl {

// `ternary`, after top_k: each kept value becomes its sign times the mean magnitude of those that
// are kept (sparse ternary compression: Sattler et al. 2019, arXiv:1903.02891).
class Ternary final : public Leveller {
 public:
  CodecTraits traits() const override { return {}; }
  std::uint32_t level_max() const override { return 1; }
  float StepFor(std::span<const float> values) const override;
  void Quantize(std::span<const float> values, float step, RngStream& rng,
                std::span<std::int16_t> levels) const override;
};

}  // namespace fl
