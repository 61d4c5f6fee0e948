#pragma once

#include "fl/compression/codecs/factor_levels.h"
#include "fl/compression/codecs/factorize.h"

namespace fl::internal {

// The levels of a product P V near the matrix, given P's directions (rows of `left`, matrix.rows
// values each): each direction rounded to a grid of `step` root mean squares of itself, V the
// least-squares fit to the rounded P, its rows rounded likewise. Coarse steps with an entropy code
// behind them, and more directions, keep more of an update than fine steps at the same bytes.
FactorLevels RoundFactors(const MatrixView& matrix, std::span<const float> left, float step);

// The levels of one factor alone, `rank` rows of one length: each on a grid of `step` root mean
// squares of itself.
FactorLevels RoundFactor(std::span<const float> factor, std::size_t rank, float step);

}  // namespace fl::internal
