#pragma once

#include <cstdint>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"

// A code for the integer levels of two factors, for messages of a few hundred bytes, where the cost
// of learning counts: few contexts, shared by all directions, that start from what such factors
// usually have. One range code (entropy/range_coder.h):
//
//   lag of the left side, lag of the right side     a bit, chance 1/4 counting once, is there one;
//                                                   if so, lag - 1 in 8 raw bits
//   { scale: 8 raw bits, left levels, right levels }   a direction; no levels where the scale is 0
//   level = nonzero [negative [magnitude]]
//     nonzero    by how many earlier directions have a level in this row (up to 2), and how many of
//                the places i - 1, i - lag, i - lag + 1 of this direction have one
//     negative   by the sum of those places' signs: whether it is against it; a raw bit where it is
//                zero
//     magnitude  is it above 1, by the sum of the magnitudes at i - 1 and i - lag, less 1, up to 3;
//                if so, magnitude - 2 as AdaptiveNumber
//
// Where there are no columns the right side is left out, its lag, too: one factor alone.
//
// Without a lag no place has a neighbour; with lag 1 only i - 1 is one. The rows of a first layer
// are an image's pixels, its lag the image's width, which the encoder finds by itself. First
// chances stand in factor_levels.cpp and count as six bits.
namespace fl::internal {

inline constexpr int kFactorLevelMax = 40;

// A product in levels: value[i, j] = sum over k of left[k * rows + i] * s[k] * right[k * columns +
// j], where s[k] = FactorScale(scales[k]).
struct FactorLevels {
  FactorLevels(std::size_t row_count, std::size_t column_count, std::size_t rank)
      : rows(row_count),
        columns(column_count),
        scales(rank),
        left(rank * row_count),
        right(rank * column_count) {}

  std::size_t rows;
  std::size_t columns;
  std::vector<std::uint8_t> scales;  // 0: the direction is absent, and its levels are zero.
  std::vector<std::int8_t> left;     // Of magnitude <= kFactorLevelMax.
  std::vector<std::int8_t> right;
};

// 0 for 0, else 2^((index - 192) / 4): from 4e-15 to 5e4, at most 9 % apart from any number
// between.
float FactorScale(std::uint8_t index);
// The index of the scale nearest to a number, not 0.
std::uint8_t FactorScaleIndex(float scale);

// No code that is accepted is longer.
std::size_t FactorBytesMax(std::size_t rows, std::size_t columns, std::size_t rank);

// Appends the code. A direction is present only where each of its factors has a level that is not
// zero. Levels whose code would be longer than FactorBytesMax, which no usual ones are, are halved
// until it is not.
void EncodeFactors(FactorLevels& levels, ByteWriter& out);

// Reads a code that is all of `bytes` into levels of that shape, all zero; kMalformed unless it is
// what EncodeFactors writes for them. Time is proportional to the levels.
Result<> DecodeFactors(ByteSpan bytes, FactorLevels& levels);

}  // namespace fl::internal
