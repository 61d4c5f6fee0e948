#include "fl/compression/codecs/level_quantize.h"

#include <algorithm>
#include <array>

#include "fl/compression/kernels/find_levels.h"
#include "fl/compression/kernels/grid_codes.h"

namespace fl {

float LevelQuantize::StepFor(std::span<const float> values) const {
  if (config_.step > 0) {
    return internal::StepOf(static_cast<double>(config_.step) *
                            static_cast<double>(internal::RootMeanSquare(values)));
  }
  return internal::StepOf(static_cast<double>(kernels::LargestMagnitude(values)) /
                          static_cast<double>(config_.level_max));
}

void LevelQuantize::Quantize(std::span<const float> values, float step, RngStream& rng,
                             std::span<std::int16_t> levels) const {
  const kernels::LevelBins bins{step, config_.level_max};
  if (!config_.stochastic) return kernels::FindNearestLevels(values, bins, levels);
  std::array<float, 512> uniforms;
  for (std::size_t at = 0; at < values.size(); at += uniforms.size()) {
    const std::size_t run = std::min(uniforms.size(), values.size() - at);
    rng.FillUniform(std::span(uniforms).first(run));
    kernels::FindRandomLevels(values.subspan(at, run), std::span(uniforms).first(run), bins,
                              levels.subspan(at, run));
  }
}

}  // namespace fl
