#include "fl/compression/codecs/ternary.h"

#include <cmath>

namespace fl {

LevelScale Ternary::Quantize(std::span<const float> values, RngStream& /*rng*/,
                             std::span<std::int32_t> levels) const {
  double sum = 0;
  std::size_t nonzeros = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    levels[i] = values[i] == 0 ? 0 : values[i] < 0 ? -1 : 1;
    nonzeros += values[i] == 0 ? 0 : 1;
    sum += static_cast<double>(std::fabs(values[i]));
  }
  if (nonzeros == 0) return {};
  return {.step = internal::StepOf(sum / static_cast<double>(nonzeros))};
}

}  // namespace fl
