#include "fl/compression/codecs/level_quantize.h"

#include <algorithm>
#include <cmath>

namespace fl {

LevelScale LevelQuantize::Quantize(std::span<const float> values, RngStream& rng,
                                   std::span<std::int32_t> levels) const {
  const float most = static_cast<float>(config_.level_max);
  double step = static_cast<double>(config_.step);
  if (config_.step > 0) {
    step *= static_cast<double>(internal::RootMeanSquare(values));
  } else {
    float largest = 0;
    for (const float value : values) largest = std::max(largest, std::fabs(value));
    step = static_cast<double>(largest) / static_cast<double>(most);
  }
  const LevelScale scale{.step = internal::StepOf(step)};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float place = scale.step > 0 ? std::min(std::fabs(values[i]) / scale.step, most) : 0;
    const auto whole = static_cast<std::int32_t>(place);
    const auto below = static_cast<float>(whole);
    const float turn = config_.stochastic ? rng.Uniform() : 0.5F;
    const std::int32_t level = whole + (place - below > turn ? 1 : 0);
    levels[i] = values[i] < 0 ? -level : level;
  }
  return scale;
}

}  // namespace fl
