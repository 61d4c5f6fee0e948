#include "fl/compression/codecs/ternary.h"

#include <cmath>

namespace fl {

float Ternary::StepFor(std::span<const float> values) const {
  double sum = 0;
  std::size_t nonzeros = 0;
  for (const float value : values) {
    nonzeros += value == 0 ? 0 : 1;
    sum += static_cast<double>(std::fabs(value));
  }
  return nonzeros == 0 ? 0 : internal::StepOf(sum / static_cast<double>(nonzeros));
}

void Ternary::Quantize(std::span<const float> values, float /*step*/, RngStream& /*rng*/,
                       std::span<std::int16_t> levels) const {
  for (std::size_t i = 0; i < values.size(); ++i)
    levels[i] = static_cast<std::int16_t>((values[i] > 0 ? 1 : 0) - (values[i] < 0 ? 1 : 0));
}

}  // namespace fl
