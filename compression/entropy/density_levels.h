#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/compression/entropy/level_sink.h"

// A code for integer levels in rows and columns, mostly small or zero, of which some rows and some
// columns are busier than others: matrices of updates after a quantizer. An adaptive range coder
// whose contexts are how busy the row and the column have been so far. Integer arithmetic only.
//
//   array  = nothing                        all levels are zero
//          | kind:u8 code                   kind: the class of the mean magnitude (LevelKind)
//
// Log(x) = 8 x (place of the highest one bit) + the three bits below it: about 8 log2(x).
// M(kind) = max((Q[kind mod 4] << (kind / 4)) >> 24, 1), Q = 1097253 1304878 1551792 1845427: a
// mean, in units of 2^-20 as all that follow; m = M(kind). Magnitudes count up to 15, and "seen"
// means in this part; u = 4 + (3 << 18) / m, v = 8 + (1 << 18) / m, rounded down.
//   column  a = Log((sum of the column seen << 20) + u m) - Log(rows seen + u) - Log(m)
//   row     b = Log((sum of the row seen << 20) + v rho) - Log(column + v) - Log(m); rho = m in the
//               first row; after each row rho = max((rho + (its sum << 20) / columns) / 2, 1)
//   cell    (A, B) = (clamp((a + 35) / 6, 0, 10), clamp((b + 35) / 6, 0, 10)), rounded toward zero
// A level is: a bit, is it nonzero, by its cell; if so, a raw bit, is it negative; and magnitude -
// 1 as AdaptiveNumber, by (A + B) / 4. A cell's bit has the first chance c * 2^16 / (2^20 + c), c =
// m * 2^(e(A) / 8) * 2^(e(B) / 8) with e(A) = (6A - 32) * 3 / 4 (toward zero); it counts as
// clamp(131072 / chance, 8, 1000) bits.
//   Where m < 2^16 and there is more than one column, each w = 8 columns of a row are a group (16
// where m < 2^14, 32 where m < 2^12): a bit, is any level of it nonzero, by the cell of its
// columns' sums together (u m times its width; a less Log(width)), first chance from w c. In such a
// group, as long as all were zero, "nonzero" goes by the place p in the group (the last column
// being w - 1) and C = clamp((Log of the column - Log of the group + Log(width) + 27) / 6, 0, 8)
// instead, first chance 2^16 s / (s + 64 (w - p - 1)) with s = 8 13 22 38 64 108 181 304 512 by C,
// which counts as 32 bits; the last place needs no bit. After the first, the cells' bits serve.
namespace fl {

// Appends a code of rows * columns levels, row after row, each of magnitude <= max < 2^31. Levels
// without any pattern take their entropy and, where they are thousands, 1 % more at most.
void EncodeLevels(std::span<const std::int32_t> levels, std::size_t columns, std::uint32_t max,
                  ByteWriter& out);

// Reads a code that is all of `bytes`: kMalformed unless EncodeLevels writes exactly that for what
// it says; `out` is then unspecified. Time and memory are proportional to the levels and bytes.
Result<> DecodeLevels(ByteSpan bytes, std::size_t columns, std::uint32_t max,
                      std::span<std::int32_t> out);

// The same in parts that are decoded alone, for a code that a reader may enter in the middle.

// The Log of above, x >= 1.
inline int LevelLog(std::uint64_t x) {
  const int top = static_cast<int>(std::bit_width(x)) - 1;
  return 8 * top + static_cast<int>((top >= 3 ? x >> (top - 3) : x << (3 - top)) & 7U);
}

// What both sides know of an array of levels.
struct LevelArray {
  std::size_t columns = 1;
  std::uint32_t max = 1;  // Of the magnitudes, < 2^31.
  std::uint8_t kind = 0;
};

// A level counts min(|level|, 15) as activity; the sum of an array.
inline constexpr std::uint32_t kActivityMax = 15;
std::uint64_t ActivityOf(std::span<const std::int32_t> levels);
std::uint64_t ActivityOf(std::span<const std::int16_t> levels);
// The class of an array of `count` levels whose activity is > 0: 4 (log2(mean) + 24) rounded down,
// in [0, 127], approximately.
std::uint8_t LevelKind(std::uint64_t activity, std::size_t count);
// The least number of coordinates, a multiple of 65536, for which a part is expected to take about
// as many bytes, >= 1.
std::size_t PartCoordinates(std::uint8_t kind, std::size_t part_bytes);

// Codes the levels of an array from coordinate `first` on.
void EncodePart(std::span<const std::int32_t> levels, std::size_t first, const LevelArray& array,
                ByteWriter& out);
void EncodePart(std::span<const std::int16_t> levels, std::size_t first, const LevelArray& array,
                ByteWriter& out);
// Reads a part of `count` levels, all of `bytes`, and gives back its activity; kMalformed as
// DecodeLevels. The sink's indices start at `first`.
Result<std::uint64_t> DecodePart(ByteSpan bytes, std::size_t first, std::size_t count,
                                 const LevelArray& array, LevelSink& sink);
// The first `stop` levels, and perhaps some more, of a part of `count` that DecodePart has
// accepted.
void DecodeAcceptedPart(ByteSpan bytes, std::size_t first, std::size_t count, std::size_t stop,
                        const LevelArray& array, LevelSink& sink);

}  // namespace fl
