#include "fl/compression/codecs/leveller.h"

#include <algorithm>
#include <cmath>

#include "fl/common/tensor/half.h"
#include "fl/compression/codecs/quantize.h"

namespace fl::internal {

float RootMeanSquare(std::span<const float> values) {
  constexpr std::size_t kSums = 8;
  std::array<double, kSums> sums{};
  const std::size_t whole = values.size() - values.size() % kSums;
  constexpr std::size_t kAhead = 1024;  // A single stream, which the processor fetches too late.
  for (std::size_t i = 0; i < whole; i += kSums) {
    __builtin_prefetch(values.data() + i + kAhead);
    for (std::size_t j = 0; j < kSums; ++j) {
      const auto value = static_cast<double>(values[i + j]);
      sums[j] += value * value;
    }
  }
  double sum = 0;
  for (const double each : sums) sum += each;
  for (const float value : values.subspan(whole))
    sum += static_cast<double>(value) * static_cast<double>(value);
  if (values.empty()) return 0;
  return static_cast<float>(std::sqrt(sum / static_cast<double>(values.size())));
}

float StepOf(double value) {
  if (!(value > 0)) return 0;
  constexpr double kLeast = 0x1p-126;
  constexpr double kMost = 0x1p127;
  return Bfloat16ToFloat(Bfloat16Above(static_cast<float>(std::clamp(value, kLeast, kMost))));
}

}  // namespace fl::internal
