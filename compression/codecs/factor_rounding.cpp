#include "fl/compression/codecs/factor_rounding.h"

#include <algorithm>
#include <cmath>

namespace fl::internal {
namespace {

// The levels of values on a grid of that step, nearest ones.
void RoundToLevels(std::span<const float> values, float step, std::span<std::int8_t> out) {
  constexpr auto kLimit = static_cast<float>(kFactorLevelMax);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float level = step > 0 ? std::nearbyint(values[i] / step) : 0.0F;
    out[i] = static_cast<std::int8_t>(std::clamp(level, -kLimit, kLimit));
  }
}

float RootMeanSquare(std::span<const float> values) {
  double squares = 0;
  for (const float value : values)
    squares += static_cast<double>(value) * static_cast<double>(value);
  return static_cast<float>(std::sqrt(squares / static_cast<double>(values.size())));
}

}  // namespace

FactorLevels RoundFactors(const MatrixView& matrix, std::span<const float> left, float step) {
  const std::size_t rank = left.size() / matrix.rows;
  FactorLevels levels(matrix.rows, matrix.columns, rank);
  for (std::size_t k = 0; k < rank; ++k) {
    const auto direction = left.subspan(k * matrix.rows, matrix.rows);
    RoundToLevels(direction, step * RootMeanSquare(direction),
                  std::span(levels.left).subspan(k * matrix.rows, matrix.rows));
  }
  const std::vector<float> rounded(levels.left.begin(), levels.left.end());
  const std::vector<float> right = FitRight(matrix, rounded, rank);
  for (std::size_t k = 0; k < rank; ++k) {
    const auto row = std::span(right).subspan(k * matrix.columns, matrix.columns);
    levels.scales[k] = FactorScaleIndex(step * RootMeanSquare(row));
    RoundToLevels(row, FactorScale(levels.scales[k]),
                  std::span(levels.right).subspan(k * matrix.columns, matrix.columns));
  }
  return levels;
}

FactorLevels RoundFactor(std::span<const float> factor, std::size_t rank, float step) {
  const std::size_t length = factor.size() / rank;
  FactorLevels levels(length, 0, rank);
  for (std::size_t k = 0; k < rank; ++k) {
    const auto row = factor.subspan(k * length, length);
    levels.scales[k] = FactorScaleIndex(step * RootMeanSquare(row));
    RoundToLevels(row, FactorScale(levels.scales[k]),
                  std::span(levels.left).subspan(k * length, length));
  }
  return levels;
}

}  // namespace fl::internal
