#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/compression/entropy/level_sink.h"

// Integer levels of magnitude <= max, 1 <= max <= 32767, at a fixed width, so that any can be
// reached at once.
//   plain = { code }         W bits each, W = the bits of 2 max, code = level + max; lower bits
//                            first, zero padded to a byte
//         | { five:u8 }      max = 1: the sum over five levels of (level + 1) x 3^i, 1.6 bits each;
//                            levels that are missing at the end are as -1
namespace fl {

// Where max is 1, five levels are a byte below 243: sum of (level i + 1) x 3^i.
inline constexpr std::size_t kFive = 5;
const std::array<std::int32_t, kFive>& LevelsOfFive(unsigned byte);

std::size_t PlainBytes(std::size_t count, std::uint32_t max);

// Appends the PlainBytes of all levels that it is given, in order, to `out`, which outlives it.
class PlainWriter {
 public:
  PlainWriter(std::uint32_t max, ByteWriter& out) : max_(max), out_(out) {}
  void Write(std::span<const std::int16_t> levels);
  // Once, after the last levels.
  void Finish();

 private:
  void WriteFives(std::span<const std::int16_t> levels);

  std::uint32_t max_;
  ByteWriter& out_;
  std::uint64_t word_ = 0;  // Bits, or levels of a five, that make no byte yet,
  unsigned used_ = 0;       // and how many these are.
};

// Whether PlainBytes(count, max) bytes are ones that WritePlain writes; else kMalformed.
Result<> CheckPlain(ByteSpan bytes, std::size_t count, std::uint32_t max);

// Puts the levels in [first, first + count) that are not zero, as index - first + to, from bytes
// that CheckPlain has accepted.
void ReadPlain(ByteSpan bytes, std::uint32_t max, std::size_t first, std::size_t count,
               std::size_t to, LevelSink& sink);

}  // namespace fl
