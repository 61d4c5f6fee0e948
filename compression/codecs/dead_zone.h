#pragma once

#include <memory>

#include "fl/compression/codecs/leveller.h"
#include "fl/compression/stage.h"

namespace fl {

struct DeadZoneConfig {
  float step = 4;  // Width of a bin in root mean squares of the segment, > 0.
  float zero = 0;  // Half the width of the zero bin in steps, in [0.5, 1]; 0: by the step.
};

// `dead_zone STEP [zero=Z]`: bins of one width, a wider one around zero, each sent back to the mean
// of what fell into it (Sullivan 1996, doi:10.1109/18.532881). With an entropy code behind it, it
// is within a quarter of a decibel of what is possible for independent values below 0.3 bit.
//   level = 0 where |x| < Z step, else max(1, floor(|x| / step + 1/2)) with x's sign, at most 32767
class DeadZone final : public Leveller {
 public:
  explicit DeadZone(const DeadZoneConfig& config);

  CodecTraits traits() const override { return {}; }
  std::uint32_t level_max() const override { return 32767; }
  bool has_offsets() const override { return true; }
  float StepFor(std::span<const float> values) const override;
  void Quantize(std::span<const float> values, float step, RngStream& rng,
                std::span<std::int16_t> levels) const override;

 private:
  DeadZoneConfig config_;
};

// As the stage says.
Result<std::unique_ptr<Leveller>> BuildDeadZone(const Stage& stage);

}  // namespace fl
