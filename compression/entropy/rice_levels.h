#pragma once

#include <cstdint>
#include <span>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/compression/entropy/level_sink.h"

// Integer levels of which most are zero, for readers that must be simple: the places of the others
// in Rice codes (entropy/rice.h).
//   rice = count:varint          of the nonzero levels
//          signs                 a bit each, 1: negative; lowest bit first, zero padded to a byte
//          gaps                  their indices
//          magnitudes            where max > 1: Elias gamma codes, zero padded to a byte: as many
//          ones
//                                as the magnitude has bits after its first, a zero, those bits
namespace fl {

// Magnitudes at most max, 1 <= max <= 32767; fewer than 2^32 levels.
void WriteRiceLevels(std::span<const std::int16_t> levels, std::uint32_t max, ByteWriter& out);

// Reads all of `bytes`, `count` levels; indices start at `to`. kMalformed unless WriteRiceLevels
// writes exactly these bytes for what they say.
Result<> DecodeRiceLevels(ByteSpan bytes, std::size_t count, std::uint32_t max, std::size_t to,
                          LevelSink& sink);

// The first `stop` levels, and perhaps some more, of bytes that DecodeRiceLevels has accepted.
void ReadRiceLevels(ByteSpan bytes, std::size_t count, std::size_t stop, std::uint32_t max,
                    std::size_t to, LevelSink& sink);

}  // namespace fl
