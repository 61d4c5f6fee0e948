#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/compression/entropy/level_sink.h"
#include "fl/compression/entropy/level_source.h"
#include "fl/compression/entropy/sparse_levels.h"

// The entropy stage: an array of integer levels to bytes and back, by one of several codes, in
// parts that are decoded alone.
//
//   levels  = nothing                      all levels are zero
//           | kind:u8 [table] { size:varint } { part }
//   table   = size:varint bytes            rans only: entropy/rans_levels.h
//
// kind mod 128 is LevelKind of the array. A part is PartCoordinates(kind, 700) coordinates, 1400
// for context; the last one has what is left over, too, so that there is one at least. Where there
// is but one, there is no size, and kind has 128 added if the part is plain. Else size = 2 x the
// part's bytes + (is it plain). A part is written plainly where that is not longer than its code.
//   plain   = entropy/plain_levels.h
//   rice    = count:varint gaps            the nonzero levels' places, as in codecs/top_k.h
//             signs                        a bit each, 1: negative; padded to a byte
//             { 0 ... 1 low bits }         max > 1: magnitudes in Elias gamma codes, padded to a
//             byte
//   context = entropy/density_levels.h
//   rans    = entropy/rans_levels.h; there all of the array is plain or nothing: 128 is added to
//   kind,
//             and the plain code of all levels follows it
//   trits   = entropy/trit_levels.h        where max is 1
//   pack    = nothing | plain              of all levels, without kind and size
// A code that is not named travels in front: 0 pack, 1 rice, 2 rans, 3 context.
namespace fl {

enum class LevelCode : std::uint8_t { kPack = 0, kRice = 1, kRans = 2, kContext = 3, kTrits = 4 };

// What the recipe and the tensor give: `count` levels, row after row, of magnitudes up to max.
struct LevelSpace {
  std::size_t count = 0;
  std::size_t columns = 1;
  std::uint32_t max = 1;  // At most 32767.
};

// No array of levels takes more bytes, by any code.
std::size_t LevelBytesMax(const LevelSpace& space);

// Restarts the source whenever it reads it, and reads all of it first. kTrits: max is 1.
void WriteLevels(LevelCode code, LevelSource& levels, const LevelSpace& space, ByteWriter& out);
void WriteLevels(LevelCode code, std::span<const std::int32_t> levels, const LevelSpace& space,
                 ByteWriter& out);
// By the code that takes the fewest bytes, the least of those; its number in front.
void WriteSmallest(LevelSource& levels, const LevelSpace& space, ByteWriter& out);

// Levels whose bytes have passed every check; refers to them.
class ParsedLevels {
 public:
  // kMalformed unless WriteLevels writes exactly these bytes for what they say. Nothing is
  // allocated but a place for each part and, for levels that are slow to decode, some three times
  // their bytes.
  static Result<ParsedLevels> Parse(LevelCode code, ByteSpan bytes, const LevelSpace& space);
  // Of what WriteSmallest writes; any code will do.
  static Result<ParsedLevels> ParseTagged(ByteSpan bytes, const LevelSpace& space);

  // Hands the levels in [first, first + count) that are not zero to the sink. A part is read from
  // its beginning.
  void Read(std::size_t first, std::size_t count, LevelSink& sink) const;
  // The largest magnitude; 0: all are zero.
  std::uint32_t largest() const { return largest_; }

 private:
  struct Part {
    std::size_t first = 0;
    std::size_t count = 0;
    ByteSpan bytes;
    bool plain = false;
    std::optional<SparseLevels> decoded;
  };
  struct Content {
    std::uint32_t largest = 0;
    std::uint64_t activity = 0;
  };
  Result<> ReadParts(ByteSpan bytes);
  Result<> CheckPart(Part& part, LevelSink& sink) const;
  Result<> CheckContext(Part& part, LevelSink& sink) const;
  Result<Content> CheckParts();
  Result<Content> CheckRans() const;
  void ReadRans(std::size_t first, std::size_t count, LevelSink& sink) const;

  LevelCode code_ = LevelCode::kPack;
  LevelSpace space_;
  std::uint8_t kind_ = 0;
  ByteSpan table_;
  std::vector<Part> parts_;
  std::uint32_t largest_ = 0;
};

}  // namespace fl
