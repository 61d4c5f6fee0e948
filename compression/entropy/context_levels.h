#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/compression/entropy/range_coder.h"

// A code for integer levels in rows and columns, mostly small or zero, of which some rows and some
// columns are busier than others: matrices of updates after a quantizer. An adaptive range coder
// whose contexts are how busy the row and the column have been so far. Integer arithmetic only.
//
//   array  = nothing                        all levels are zero
//          | kind:u8 code                   kind: the class of the mean magnitude (LevelKind)
//
// Log(x) = 8 x (place of the highest one bit) + the three bits below it: about 8 log2(x). M(kind) =
// max((Q[kind mod 4] << (kind / 4)) >> 24, 1), Q = 1097253 1304878 1551792 1845427: a mean, in
// units of 2^-20 as all that follow; m = M(kind). Magnitudes count up to 15:
//   column  a = Log((sum of those above << 20) + 4m) - Log(rows above + 4)
//   row     b = Log((sum of those before << 20) + 8 rho) - Log(column + 8); rho = m in the first
//               row; after each row rho = max((rho + (its sum << 20) / columns) / 2, 1)
//   cell    (A, B), A = clamp((a - Log(m) + 35) / 6, 0, 10) rounded toward zero, B from b alike
// A level is: a bit, is it nonzero, by its cell; if so, a raw bit, is it negative; and magnitude -
// 1 as AdaptiveNumber, by (A + B) / 4. The first chance of a cell's bit is (c << 16) / (2^20 + c),
// c = m x 2^((6A - 32) / 8) x 2^((6B - 32) / 8), and counts as eight bits.
//   Where m < 2^16 and there are columns, each eight columns are a group: a bit, is any of it
//   nonzero,
// by the cell of its column sums (4m times its width, a less Log(width)), first chance from 8c. In
// such a group, as long as all were zero, "nonzero" goes by the place p of the group that ends at
// its last column and clamp((a of the column - a of the group + 27) / 6, 0, 8), first chance 65536
// / (9 - p), two bits; the last place needs no bit.
namespace fl {

// Appends a code of rows * columns levels, row after row, each of magnitude <= max < 2^31. What it
// takes for levels without any pattern is their entropy and 1 or 2 % more.
void EncodeLevels(std::span<const std::int32_t> levels, std::size_t columns, std::uint32_t max,
                  ByteWriter& out);

// Reads a code that is all of `bytes`: kMalformed unless EncodeLevels writes exactly that for what
// it says; `out` is then unspecified. Time and memory are proportional to the levels and bytes.
Result<> DecodeLevels(ByteSpan bytes, std::size_t columns, std::uint32_t max,
                      std::span<std::int32_t> out);

// The same in parts that are decoded alone, for a code that a reader may enter in the middle.

// Where nonzero levels go, in ascending order.
class LevelSink {
 public:
  virtual ~LevelSink() = default;
  virtual void Put(std::size_t index, std::int32_t level) = 0;
};

// What both sides know of an array of levels.
struct LevelArray {
  std::size_t columns = 1;
  std::uint32_t max = 1;  // Of the magnitudes, < 2^31.
  std::uint8_t kind = 0;
};

// Sum of min(|level|, 15).
std::uint64_t ActivityOf(std::span<const std::int32_t> levels);
// The class of an array of `count` levels whose activity is > 0: 4 (log2(mean) + 24) rounded down,
// in [0, 127], approximately.
std::uint8_t LevelKind(std::uint64_t activity, std::size_t count);
// The least number of coordinates, a multiple of 65536, for which a part is expected to take some
// 700 bytes.
std::size_t PartCoordinates(std::uint8_t kind);

// Codes the levels of an array from coordinate `first` on.
void EncodePart(std::span<const std::int32_t> levels, std::size_t first, const LevelArray& array,
                ByteWriter& out);
// Reads a part of `count` levels, all of `bytes`, and gives back its activity; kMalformed as
// DecodeLevels. The sink's indices start at `first`.
Result<std::uint64_t> DecodePart(ByteSpan bytes, std::size_t first, std::size_t count,
                                 const LevelArray& array, LevelSink& sink);
// The first `count` levels of a part that DecodePart has accepted.
void DecodeAcceptedPart(ByteSpan bytes, std::size_t first, std::size_t count,
                        const LevelArray& array, LevelSink& sink);

}  // namespace fl
