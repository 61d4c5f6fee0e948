#pragma once

#include <cstdint>
#include <span>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/compression/entropy/level_sink.h"

// Levels -1, 0 and 1, five to a byte, and runs of zeros in one: whole bytes alone, for the fastest
// readers (3LC, Lim, Andersen & Kaminsky 2019, arXiv:1802.07389).
//
//   trits = { byte }
//   byte  = 0 ... 242                      five levels: sum of (level i + 1) x 3^i; zeros fill the
//                                          last five
//         | 243 ... 255                    byte - 241 fives of zeros: 2 to 14
//
// There is one form: fives of zeros that follow each other are 14 to a byte as long as there are
// 14, then one byte for the rest, 121 where that is one five. At most 1.6 bits a level, 0.11 where
// all are zero.
namespace fl {

// Magnitudes at most 1.
void WriteTritLevels(std::span<const std::int16_t> levels, ByteWriter& out);

// Reads all of `bytes`, `count` levels; indices start at `to`. kMalformed unless WriteTritLevels
// writes exactly these bytes for what they say.
Result<> DecodeTritLevels(ByteSpan bytes, std::size_t count, std::size_t to, LevelSink& sink);

// The first `stop` levels, and perhaps some more, of bytes that DecodeTritLevels has accepted.
void ReadTritLevels(ByteSpan bytes, std::size_t count, std::size_t stop, std::size_t to,
                    LevelSink& sink);

}  // namespace fl
