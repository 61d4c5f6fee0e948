#include "fl/compression/entropy/rans_levels.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "fl/common/base/check.h"
#include "fl/common/base/error_detail.h"
#include "fl/compression/entropy/density_levels.h"
#include "fl/compression/entropy/range_coder.h"

namespace fl {
namespace {

constexpr std::uint32_t kSlots = 4096;
constexpr std::uint32_t kLeast = 1U << 16;  // A state is in [2^16, 2^32).
constexpr std::size_t kLarger = 2 * kRansLevelMax + 1;
constexpr std::size_t kZero = kRansLevelMax;

constexpr std::size_t kStates = 4;  // Of a long part; others have one.

// The symbol of a level; kLarger and more: larger.
std::uint32_t PlaceOf(std::int32_t level) {
  return static_cast<std::uint32_t>(level + kRansLevelMax);
}
std::size_t SymbolOf(std::int32_t level) {
  return std::min<std::size_t>(PlaceOf(level), kLarger);
}

std::size_t StatesOf(std::size_t count) {
  return count >= 32768 ? kStates : 1;
}

int ClassesInOctave(std::int32_t top) {
  return top <= 3 ? 16 : top <= 7 ? 8 : top <= 31 ? 4 : 2;
}

// 2^22 x 2^(-parts / 32).
std::uint64_t Weight(int parts) {
  constexpr std::array<std::uint64_t, 32> kWeight = {
      4194304, 4104429, 4016479, 3930414, 3846194, 3763778, 3683128, 3604206,
      3526975, 3451399, 3377443, 3305071, 3234251, 3164947, 3097129, 3030764,
      2965821, 2902269, 2840080, 2779223, 2719670, 2661393, 2604365, 2548558,
      2493948, 2440508, 2388213, 2337038, 2286960, 2237956, 2190001, 2143074};
  return kWeight[static_cast<std::size_t>(parts % 32)] >> (parts / 32);
}

// The class whose weight is nearest to count / total, in logarithms.
int ClassOf(std::uint64_t count, std::uint64_t total, int octave) {
  int code = 1;
  const auto reaches = [&](int below) {
    return count << 22 >= total * Weight((2 * below + 1) * 16 / octave);
  };
  while (code <= 12 * octave && !reaches(code - 1)) ++code;
  return code;
}

Error Malformed(const std::string& what) {
  return {ErrorCode::kMalformed, what, ErrorDetail::kCodeDamaged};
}

// Calls visit(symbol, kind, symbol that it resembles), kinds 0 and 1 of all and positive ones, in
// the order in which a table has its symbols.
template <typename Visit>
void ForSymbols(std::int32_t top, bool has_larger, Visit visit) {
  visit(kZero, 0, kZero);
  for (std::int32_t k = 1; k <= top; ++k) {
    visit(SymbolOf(k), 1, SymbolOf(k - 1));
    visit(SymbolOf(-k), 2, SymbolOf(k));
  }
  if (has_larger) visit(kLarger, 0, SymbolOf(top));
}

// What a table's classes are coded with.
struct TableModels {
  std::array<AdaptiveBit, 3> occurs;
  std::array<AdaptiveLevel, 3> difference;
};
constexpr std::uint32_t kDifferenceMax = 200;

// The words of a part being read; after the end come others, and AtEnd is false.
class Words {
 public:
  explicit Words(ByteSpan bytes) : bytes_(bytes) {
    constexpr static std::array<std::byte, 2> kNone{};
    if (bytes.size() < 2) bytes_ = kNone;
  }
  // Whether there are that many words.
  bool Has(std::size_t words) const { return next_ + 2 * words <= bytes_.size(); }
  // Without a branch that the words decide. kSure: there is a word.
  template <bool kSure>
  std::uint32_t Refilled(std::uint32_t state) {
    const std::size_t at = kSure ? next_ : std::min(next_, bytes_.size() - 2);
    std::uint16_t word = 0;
    std::memcpy(&word, bytes_.data() + at, sizeof(word));
    const std::uint64_t wanted = (std::uint64_t{state} - kLeast) >> 63;  // The state is less.
    next_ += 2 * wanted;
    return state << (16 * wanted) | (word & (0 - static_cast<std::uint32_t>(wanted)));
  }
  bool AtEnd(ByteSpan bytes) const { return next_ == bytes.size(); }

 private:
  ByteSpan bytes_;
  std::size_t next_ = 0;
};

// What a state's slot, its lowest bits, says.
struct SlotTable {
  static constexpr std::int8_t kIsLarger = -128;
  struct Slot {
    std::uint16_t slots = 0;  // Of its symbol,
    std::uint16_t place = 0;  // and its place among those.
  };
  std::array<Slot, kSlots> slots;
  std::array<std::int8_t, kSlots> levels;  // Or kIsLarger.
};

// Reads the levels of a part.
class LevelReader {
 public:
  LevelReader(const SlotTable& slots, std::uint32_t max, ByteSpan bytes)
      : slots_(slots), max_(max), words_(bytes) {}

  // Levels of states in turn, the first one's first; in the end it is known whether all are in
  // range.
  void Read(std::span<std::uint32_t> states, std::span<std::int32_t> out) {
    std::size_t i = 0;
    while (states.size() == kStates && i < out.size()) {
      i += ReadSymbols(states, out.subspan(i));
      const std::size_t end = std::min(i + kStates, out.size());
      for (; i < end; ++i) out[i] = Next(states[i % kStates]);
    }
    for (; i < out.size(); ++i) out[i] = Next(states[0]);
  }
  bool in_range() const { return in_range_; }
  const Words& words() const { return words_; }

 private:
  static constexpr std::int8_t kIsLarger = SlotTable::kIsLarger;

  std::uint32_t Moved(std::uint32_t state) const {
    const SlotTable::Slot& slot = slots_.slots[state % kSlots];
    return slot.slots * (state / kSlots) + slot.place;
  }
  std::int32_t LevelOf(std::uint32_t state) const { return slots_.levels[state % kSlots]; }

  // A level of each state again and again, as long as there are words and all are symbols: how many
  // levels. Keeps all in registers.
  std::size_t ReadSymbols(std::span<std::uint32_t> states, std::span<std::int32_t> out) {
    std::uint32_t a = states[0];
    std::uint32_t b = states[1];
    std::uint32_t c = states[2];
    std::uint32_t d = states[3];
    Words words = words_;
    std::size_t i = 0;
    for (; i + kStates <= out.size() && words.Has(kStates); i += kStates) {
      const std::int32_t level_a = LevelOf(a);
      const std::int32_t level_b = LevelOf(b);
      const std::int32_t level_c = LevelOf(c);
      const std::int32_t level_d = LevelOf(d);
      if (level_a == kIsLarger || level_b == kIsLarger || level_c == kIsLarger ||
          level_d == kIsLarger)
        break;
      out[i] = level_a;
      out[i + 1] = level_b;
      out[i + 2] = level_c;
      out[i + 3] = level_d;
      a = words.Refilled<true>(Moved(a));
      b = words.Refilled<true>(Moved(b));
      c = words.Refilled<true>(Moved(c));
      d = words.Refilled<true>(Moved(d));
    }
    words_ = words;
    std::ranges::copy(std::array{a, b, c, d}, states.begin());
    return i;
  }

  std::int32_t Next(std::uint32_t& state) {
    const std::int32_t symbol = LevelOf(state);
    state = words_.Refilled<false>(Moved(state));
    if (symbol != kIsLarger) return symbol;
    const std::uint32_t upper = Byte(state);
    const auto level = static_cast<std::int32_t>(256 * upper + Byte(state)) - 32768;
    const auto magnitude = static_cast<std::uint32_t>(level < 0 ? -level : level);
    in_range_ = in_range_ && SymbolOf(level) == kLarger && magnitude <= max_;
    return level;
  }
  std::uint32_t Byte(std::uint32_t& state) {
    const std::uint32_t byte = (state % kSlots) / 16;
    state = words_.Refilled<false>(16 * (state / kSlots) + state % 16);
    return byte;
  }

  const SlotTable& slots_;
  std::uint32_t max_;
  Words words_;
  bool in_range_ = true;
};

}  // namespace

std::uint64_t ActivityOf(const RansCounts& counts) {
  std::uint64_t activity = kActivityMax * counts[kLarger];
  for (std::int32_t k = 1; k <= kRansLevelMax; ++k) {
    activity += std::min(static_cast<std::uint32_t>(k), kActivityMax) *
                (counts[SymbolOf(k)] + counts[SymbolOf(-k)]);
  }
  return activity;
}

std::uint32_t LargestOf(const RansCounts& counts) {
  for (std::int32_t k = kRansLevelMax; k > 0; --k) {
    if (counts[SymbolOf(k)] != 0 || counts[SymbolOf(-k)] != 0) return static_cast<std::uint32_t>(k);
  }
  return 0;
}

template <typename Level>
void RansCounter::AddLevels(std::span<const Level> levels) {
  const std::size_t whole = levels.size() - levels.size() % tables_.size();
  for (std::size_t i = 0; i < whole; i += tables_.size()) {
    ++tables_[0][SymbolOf(levels[i])];
    ++tables_[1][SymbolOf(levels[i + 1])];
    ++tables_[2][SymbolOf(levels[i + 2])];
    ++tables_[3][SymbolOf(levels[i + 3])];
  }
  for (const Level level : levels.subspan(whole)) ++tables_[0][SymbolOf(level)];
}

void RansCounter::Add(std::span<const std::int16_t> levels) {
  AddLevels(levels);
}
void RansCounter::Add(std::span<const std::int32_t> levels) {
  AddLevels(levels);
}

bool RansCounter::has_larger() const {
  return std::ranges::any_of(tables_, [](const RansCounts& table) { return table[kLarger] != 0; });
}

RansCounts RansCounter::counts() const {
  RansCounts counts{};
  for (const RansCounts& table : tables_) {
    for (std::size_t s = 0; s < counts.size(); ++s) counts[s] += table[s];
  }
  return counts;
}

std::int32_t RansTable::Top() const {
  for (std::int32_t k = kRansLevelMax; k > 0; --k) {
    if (classes_[SymbolOf(k)] != 0 || classes_[SymbolOf(-k)] != 0) return k;
  }
  return 0;
}

RansTable RansTable::Of(const RansCounts& counts, std::uint32_t max) {
  RansTable table(max);
  std::uint64_t total = 0;
  for (std::size_t s = 0; s < counts.size(); ++s) {
    total += counts[s];
    table.classes_[s] = counts[s] == 0 ? 0 : 1;
  }
  const int octave = ClassesInOctave(table.Top());
  for (std::size_t s = 0; s < counts.size(); ++s) {
    if (counts[s] == 0) continue;
    table.classes_[s] = static_cast<std::uint8_t>(ClassOf(counts[s], total, octave));
  }
  const auto set = table.SetSlots();
  FL_CHECK(set.has_value(), "there is a symbol");
  return table;
}

Result<> RansTable::SetSlots() {
  const int octave = ClassesInOctave(Top());
  std::array<std::uint64_t, 2 * kRansLevelMax + 2> weights{};
  std::uint64_t sum = 0;
  for (std::size_t s = 0; s < weights.size(); ++s) {
    if (classes_[s] == 0) continue;
    weights[s] = Weight((classes_[s] - 1) * 32 / octave);
    sum += weights[s];
  }
  if (sum == 0) return Malformed("expected a symbol that occurs");
  std::uint32_t used = 0;
  for (std::size_t s = 0; s < weights.size(); ++s) {
    if (classes_[s] == 0) continue;
    slots_[s] = static_cast<std::uint16_t>(
        std::max<std::uint64_t>((weights[s] * kSlots + sum / 2) / sum, 1));
    used += slots_[s];
  }
  for (; used != kSlots; used += used < kSlots ? 1 : -1U) {
    auto& most = *std::ranges::max_element(slots_);
    most = static_cast<std::uint16_t>(used < kSlots ? most + 1 : most - 1);
  }
  std::uint32_t first = 0;
  for (std::size_t s = 0; s < slots_.size(); ++s) {
    first_[s] = static_cast<std::uint16_t>(first);
    first += slots_[s];
  }
  return {};
}

void RansTable::Write(ByteWriter& out) const {
  RangeEncoder encoder(out);
  TableModels models;
  const std::int32_t top = Top();
  encoder.EncodeUniform(static_cast<std::uint32_t>(top), 7);
  ForSymbols(top, HasLarger(), [&](std::size_t symbol, std::size_t kind, std::size_t like) {
    const std::int32_t code = classes_[symbol];
    encoder.Encode(models.occurs[kind], code != 0);
    if (code == 0) return;
    const std::int32_t expected = symbol == like ? 0 : classes_[like];
    models.difference[kind].Encode(encoder, code - expected, kDifferenceMax);
  });
  encoder.Finish();
}

Result<RansTable> RansTable::Read(ByteSpan bytes, std::uint32_t max) {
  RansTable table(max);
  RangeDecoder decoder(bytes);
  TableModels models;
  const auto top = static_cast<std::int32_t>(decoder.DecodeUniform(7));
  const std::int32_t code_max = 1 + 12 * ClassesInOctave(top);
  bool known = static_cast<std::uint32_t>(top) <= max;
  ForSymbols(top, table.HasLarger(), [&](std::size_t symbol, std::size_t kind, std::size_t like) {
    if (!decoder.Decode(models.occurs[kind])) return;
    const std::int32_t expected = symbol == like ? 0 : table.classes_[like];
    const std::int32_t code = expected + models.difference[kind].Decode(decoder, kDifferenceMax);
    known = known && code >= 1 && code <= code_max;
    table.classes_[symbol] = static_cast<std::uint8_t>(std::clamp(code, 1, code_max));
  });
  FL_TRY_OK(decoder.Finish());
  if (!known || table.Top() != top) return Malformed("expected classes of the table's range");
  FL_TRY_OK(table.SetSlots());
  return table;
}

Result<> RansTable::Decode(ByteSpan bytes, std::size_t count, std::size_t to,
                           LevelSink& sink) const {
  SlotTable slots;
  for (std::uint32_t s = 0; s < slots_.size(); ++s) {
    for (std::uint32_t place = 0; place < slots_[s]; ++place) {
      slots.slots[first_[s] + place] = {slots_[s], static_cast<std::uint16_t>(place)};
      slots.levels[first_[s] + place] =
          s == kLarger ? SlotTable::kIsLarger : static_cast<std::int8_t>(s - kZero);
    }
  }
  std::array<std::uint32_t, kStates> all{kLeast, kLeast, kLeast, kLeast};
  const auto states = std::span(all).first(StatesOf(count));
  if (bytes.size() < states.size_bytes()) return Malformed("expected the states of a part");
  std::memcpy(all.data(), bytes.data(), states.size_bytes());
  const auto too_small = [](std::uint32_t state) { return state < kLeast; };
  if (std::ranges::any_of(states, too_small)) return Malformed("expected states of 2^16 and more");
  const ByteSpan words = bytes.subspan(states.size_bytes());
  LevelReader reader(slots, max_, words);
  std::array<std::int32_t, 512> buffer;
  for (std::size_t i = 0; i < count; i += buffer.size()) {
    const auto run = std::span(buffer).first(std::min(buffer.size(), count - i));
    reader.Read(states, run);
    if (!reader.in_range()) return Malformed("a level out of range");
    sink.PutRun(to + i, run);
  }
  const auto begun = [](std::uint32_t state) { return state == kLeast; };
  if (reader.words().AtEnd(words) && std::ranges::all_of(states, begun)) return {};
  return Malformed("expected the states to end where they began and no words after that");
}

// What a state becomes; before that, one that is too large gives its lower half to the words, which
// are filled from the end. Without branches that the state decides: there is room for one word
// more.
inline std::uint32_t RansEncoder::Put(std::uint32_t state, const Symbol& symbol,
                                      std::uint16_t*& word) {
  word[-1] = static_cast<std::uint16_t>(state);
  const std::uint64_t limit = std::uint64_t{symbol.slots} << 20;
  const std::uint64_t full = (limit - 1 - state) >> 63;  // The state is the limit or more.
  word -= full;
  state >>= 16 * full;
  const auto quotient = static_cast<std::uint32_t>((state * symbol.reciprocal) >> 44);
  return state + quotient * symbol.others + symbol.first;
}

// Exact for a state that is less than slots x 2^20, and the product is below 2^64: slots <= 4096.
RansEncoder::Symbol RansEncoder::SymbolAt(std::uint32_t first, std::uint32_t slots) {
  const std::uint64_t one = std::uint64_t{1} << 44;
  return {.reciprocal = (one + slots - 1) / std::max(slots, 1U),
          .slots = static_cast<std::uint16_t>(slots),
          .others = static_cast<std::uint16_t>(kSlots - slots),
          .first = static_cast<std::uint16_t>(first)};
}

RansEncoder::RansEncoder(const RansTable& table) {
  for (std::size_t s = 0; s < symbols_.size(); ++s)
    symbols_[s] = SymbolAt(table.first_[s], table.slots_[s]);
}

std::uint32_t RansEncoder::PutLevel(std::uint32_t state, std::int32_t level,
                                    std::uint16_t*& word) const {
  const std::size_t symbol = SymbolOf(level);
  if (symbol == kLarger) {
    const auto shifted = static_cast<std::uint32_t>(level + 32768);
    state = Put(state, SymbolAt(shifted % 256 * 16, 16), word);
    state = Put(state, SymbolAt(shifted / 256 * 16, 16), word);
  }
  return Put(state, symbols_[symbol], word);
}

std::size_t RansEncoder::PutSymbols(std::span<const std::int16_t> levels,
                                    std::array<std::uint32_t, 4>& states,
                                    std::uint16_t*& last) const {
  auto [a, b, c, d] = states;
  std::uint16_t* word = last;
  std::size_t i = levels.size();
  for (; i > 0; i -= kStates) {
    const std::uint32_t symbol_d = PlaceOf(levels[i - 1]);
    const std::uint32_t symbol_c = PlaceOf(levels[i - 2]);
    const std::uint32_t symbol_b = PlaceOf(levels[i - 3]);
    const std::uint32_t symbol_a = PlaceOf(levels[i - 4]);
    if (symbol_a >= kLarger || symbol_b >= kLarger || symbol_c >= kLarger || symbol_d >= kLarger)
      break;
    d = Put(d, symbols_[symbol_d], word);
    c = Put(c, symbols_[symbol_c], word);
    b = Put(b, symbols_[symbol_b], word);
    a = Put(a, symbols_[symbol_a], word);
  }
  states = {a, b, c, d};
  last = word;
  return i;
}

void RansEncoder::Encode(std::span<const std::int16_t> levels, ByteWriter& out) {
  words_.resize(3 * levels.size() + 1);  // A level takes three words at most; one is overwritten.
  std::uint16_t* word = words_.data() + words_.size();
  std::array<std::uint32_t, kStates> states{kLeast, kLeast, kLeast, kLeast};
  const std::size_t count = StatesOf(levels.size());
  std::size_t i = levels.size();
  while (i > 0) {
    if (count == kStates && i % kStates == 0) i = PutSymbols(levels.first(i), states, word);
    if (i == 0) break;
    --i;
    states[i % count] = PutLevel(states[i % count], levels[i], word);
  }
  for (const std::uint32_t state : std::span(states).first(count)) out.Write(state);
  const auto used = static_cast<std::size_t>(words_.data() + words_.size() - word);
  out.WriteSpan(std::as_bytes(std::span(word, used)));
}

}  // namespace fl
