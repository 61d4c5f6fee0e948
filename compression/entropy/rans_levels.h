#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/compression/entropy/level_sink.h"

// Dense integer levels by an asymmetric numeral system (Duda 2013, arXiv:1311.2540) with one static
// table for an array, for speed: within half a percent of the entropy.
//
//   Symbols: levels of magnitude <= e = min(max, 127), and, where max > e, "larger", which is
// followed by the upper and the lower byte of level + 32768.
//   table = one range code (entropy/range_coder.h): t, the largest magnitude of a symbol, in 7 raw
//           bits; then in the order 0, 1, -1, ..., t, -t, larger (where max > e): a bit, does it
//           occur; if it does, class - p as AdaptiveLevel (max 200), p being the class of k - 1 for
//           k, of k for -k, of t for larger, 0 for 0 (0: does not occur). A bit and a level each
//           for positive symbols, for negative ones, and for 0 and larger
//   class = the least c >= 1 with count x 2^22 >= total x W((2 c - 1) x 16 / R), at most 1 + 12 R;
//           R = 16 where t <= 3, 8 where t <= 7, 4 where t <= 31, else 2; W(x) = round(2^22 x
//           2^(-(x mod 32) / 32)) >> (x / 32)
//   A symbol's weight is W((class - 1) x 32 / R); its slots, of 4096, are max(1, floor(4096 weight
//   /
// sum of weights + 1/2)); as long as they are not 4096 together, the symbol with the most, the
// first of those by level, gets or gives one. Slots are in the order of levels, "larger" last.
//   part  = { state:u32 } { word:u16 }     S states, 4 where the part has at least 32768 levels,
//   else
//           1; level i is of state i mod S. Slot = state mod 4096; state' = slots x (state / 4096)
//           + slot - first slot; where that is < 2^16, it is shifted up by the next word. Bytes
//           have 16 slots each. At the end the states are 2^16 and the words are used up.
namespace fl {

// How many of each symbol there are: by level + 127, then "larger".
inline constexpr std::int32_t kRansLevelMax = 127;
using RansCounts = std::array<std::uint64_t, 2 * kRansLevelMax + 2>;
// The activity (entropy/density_levels.h) of the levels that were counted.
std::uint64_t ActivityOf(const RansCounts& counts);
// The largest magnitude that is a symbol of its own among them; 0 where none is.
std::uint32_t LargestOf(const RansCounts& counts);

// Counts symbols. Thread safety: distinct objects safe.
class RansCounter {
 public:
  void Add(std::span<const std::int16_t> levels);
  void Add(std::span<const std::int32_t> levels);
  // Whether any level was larger than the symbols.
  bool has_larger() const;
  RansCounts counts() const;

 private:
  template <typename Level>
  void AddLevels(std::span<const Level> levels);

  // Neighbours go to different ones: an addition need not wait for the one before.
  std::array<RansCounts, 4> tables_{};
};

// The table of a code. Immutable. Thread safety: shared objects safe.
class RansTable {
 public:
  // From counts that are not all zero.
  static RansTable Of(const RansCounts& counts, std::uint32_t max);
  // From all of `bytes`; kMalformed where that is no table.
  static Result<RansTable> Read(ByteSpan bytes, std::uint32_t max);

  void Write(ByteWriter& out) const;
  bool operator==(const RansTable& other) const { return classes_ == other.classes_; }

  // Reads a part of `count` levels, all of `bytes`, and puts them in runs, their indices from `to`
  // on. kMalformed unless RansEncoder writes exactly that.
  Result<> Decode(ByteSpan bytes, std::size_t count, std::size_t to, LevelSink& sink) const;

 private:
  friend class RansEncoder;
  explicit RansTable(std::uint32_t max) : max_(max) {}
  Result<> SetSlots();
  bool HasLarger() const { return max_ > static_cast<std::uint32_t>(kRansLevelMax); }
  std::int32_t Top() const;

  std::uint32_t max_;
  std::array<std::uint8_t, 2 * kRansLevelMax + 2> classes_{};  // 0: does not occur.
  std::array<std::uint16_t, 2 * kRansLevelMax + 2> slots_{};
  std::array<std::uint16_t, 2 * kRansLevelMax + 2> first_{};
};

// Writes parts by one table. Thread safety: distinct objects safe.
class RansEncoder {
 public:
  explicit RansEncoder(const RansTable& table);
  // Appends a part; its symbols have slots in the table.
  void Encode(std::span<const std::int16_t> levels, ByteWriter& out);

 private:
  // A state becomes state + (state / slots) x others + first.
  struct Symbol {
    std::uint64_t reciprocal = 0;  // Of the slots, upwards, in units of 2^-44.
    std::uint16_t slots = 0;
    std::uint16_t others = 0;  // 4096 - slots.
    std::uint16_t first = 0;
  };
  static Symbol SymbolAt(std::uint32_t first, std::uint32_t slots);
  static std::uint32_t Put(std::uint32_t state, const Symbol& symbol, std::uint16_t*& word);
  std::uint32_t PutLevel(std::uint32_t state, std::int32_t level, std::uint16_t*& word) const;
  // From the last level back to the first of a group of four that has a larger one: the group's
  // end.
  std::size_t PutSymbols(std::span<const std::int16_t> levels, std::array<std::uint32_t, 4>& states,
                         std::uint16_t*& last) const;

  std::array<Symbol, 2 * kRansLevelMax + 2> symbols_;
  std::vector<std::uint16_t> words_;  // Of one part, filled from the end.
};

}  // namespace fl
