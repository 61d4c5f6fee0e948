#include "fl/compression/entropy/rans_levels.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "fl/common/base/check.h"
#include "fl/compression/entropy/density_levels.h"
#include "fl/compression/entropy/range_coder.h"

namespace fl {
namespace {

constexpr std::uint32_t kSlots = 4096;
constexpr std::uint32_t kLeast = 1U << 16;  // A state is in [2^16, 2^32).
constexpr std::size_t kLarger = 2 * kRansLevelMax + 1;
constexpr std::size_t kZero = kRansLevelMax;

constexpr std::size_t kStates = 4;  // Of a long part; others have one.

std::size_t SymbolOf(std::int32_t level) {
  return std::min<std::size_t>(static_cast<std::uint32_t>(level + kRansLevelMax), kLarger);
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
  return {ErrorCode::kMalformed, what};
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
    const std::uint32_t wanted = state < kLeast ? 1 : 0;
    next_ += 2 * wanted;
    return state << (16 * wanted) | (word & (0 - wanted));
  }
  bool AtEnd(ByteSpan bytes) const { return next_ == bytes.size(); }

 private:
  ByteSpan bytes_;
  std::size_t next_ = 0;
};

// A slot's symbol, its place among those of the symbol, and their number less one: 8, 12, 12 bits.
using Slots = std::array<std::uint32_t, kSlots>;

// Reads the levels of a part.
class LevelReader {
 public:
  LevelReader(const Slots& slots, std::uint32_t max, ByteSpan bytes)
      : slots_(slots), max_(max), words_(bytes) {}

  // Levels of states in turn, the first one's first; in the end it is known whether all are in
  // range.
  void Read(std::span<std::uint32_t> states, std::span<std::int32_t> out) {
    std::size_t i = 0;
    if (states.size() == kStates) {
      std::array<std::uint32_t, kStates> local;
      std::ranges::copy(states, local.begin());
      for (; i + kStates <= out.size() && words_.Has(kWordsMax * kStates); i += kStates) {
        out[i] = Next<true>(local[0]);
        out[i + 1] = Next<true>(local[1]);
        out[i + 2] = Next<true>(local[2]);
        out[i + 3] = Next<true>(local[3]);
      }
      std::ranges::copy(local, states.begin());
    }
    for (; i < out.size(); ++i) out[i] = Next<false>(states[i % states.size()]);
  }
  bool in_range() const { return in_range_; }
  const Words& words() const { return words_; }

 private:
  static constexpr std::size_t kWordsMax = 3;  // That a level takes.

  template <bool kSure>
  [[gnu::always_inline]] std::int32_t Next(std::uint32_t& state) {
    const std::uint32_t slot = slots_[state % kSlots];
    state = words_.Refilled<kSure>(((slot >> 20) + 1) * (state / kSlots) + ((slot >> 8) & 4095U));
    const std::size_t symbol = slot & 255U;
    if (symbol == kLarger) [[unlikely]]
      return Larger<kSure>(state);
    return static_cast<std::int32_t>(symbol) - kRansLevelMax;
  }
  template <bool kSure>
  [[gnu::noinline]] std::int32_t Larger(std::uint32_t& state) {
    const std::uint32_t upper = Byte<kSure>(state);
    const auto level = static_cast<std::int32_t>(256 * upper + Byte<kSure>(state)) - 32768;
    const auto magnitude = static_cast<std::uint32_t>(level < 0 ? -level : level);
    in_range_ = in_range_ && SymbolOf(level) == kLarger && magnitude <= max_;
    return level;
  }
  template <bool kSure>
  std::uint32_t Byte(std::uint32_t& state) {
    const std::uint32_t byte = (state % kSlots) / 16;
    state = words_.Refilled<kSure>(16 * (state / kSlots) + state % 16);
    return byte;
  }

  const Slots& slots_;
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

template <typename Level>
void RansCounter::AddLevels(std::span<const Level> levels) {
  const std::size_t whole = levels.size() - levels.size() % tables_.size();
  for (std::size_t i = 0; i < whole; i += tables_.size()) {
    for (std::size_t j = 0; j < tables_.size(); ++j) ++tables_[j][SymbolOf(levels[i + j])];
  }
  for (const Level level : levels.subspan(whole)) ++tables_[0][SymbolOf(level)];
}

void RansCounter::Add(std::span<const std::int16_t> levels) {
  AddLevels(levels);
}
void RansCounter::Add(std::span<const std::int32_t> levels) {
  AddLevels(levels);
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

RansTable::Slots RansTable::ReadSlots() const {
  Slots slots;
  for (std::uint32_t s = 0; s < slots_.size(); ++s) {
    for (std::uint32_t place = 0; place < slots_[s]; ++place)
      slots[first_[s] + place] = (slots_[s] - 1U) << 20 | place << 8 | s;
  }
  return slots;
}

Result<> RansTable::Decode(ByteSpan bytes, std::size_t count, std::size_t to,
                           LevelSink& sink) const {
  const Slots slots = ReadSlots();
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

// Writes levels backwards, each by a state that the caller has.
class RansEncoder::LevelWriter {
 public:
  LevelWriter(const std::array<Symbol, 2 * kRansLevelMax + 2>& symbols, std::uint16_t* end)
      : symbols_(symbols), word_(end) {}
  // Gives back the next state.
  [[gnu::always_inline]] std::uint32_t Put(std::uint32_t state, std::int32_t level) {
    const std::size_t symbol = SymbolOf(level);
    if (symbol == kLarger) [[unlikely]]
      state = PutBytes(state, static_cast<std::uint32_t>(level + 32768));
    return PutSymbol(state, symbols_[symbol]);
  }
  const std::uint16_t* word() const { return word_; }

 private:
  // Without branches that the state decides.
  [[gnu::always_inline]] std::uint32_t PutSymbol(std::uint32_t state, const Symbol& symbol) {
    word_[-1] = static_cast<std::uint16_t>(state);
    const std::uint32_t full = state >> 20 >= symbol.slots ? 1 : 0;
    word_ -= full;
    state >>= 16 * full;
    const auto quotient = static_cast<std::uint32_t>((state * symbol.reciprocal) >> 44);
    return state + quotient * (kSlots - symbol.slots) + symbol.first;
  }
  [[gnu::noinline]] std::uint32_t PutBytes(std::uint32_t state, std::uint32_t shifted) {
    state = PutSymbol(state, SymbolAt(shifted % 256 * 16, 16));
    return PutSymbol(state, SymbolAt(shifted / 256 * 16, 16));
  }

  const std::array<Symbol, 2 * kRansLevelMax + 2>& symbols_;
  std::uint16_t* word_;  // The last one that was written.
};

// Exact for a state that is less than slots x 2^20, and the product is below 2^64: slots <= 4096.
RansEncoder::Symbol RansEncoder::SymbolAt(std::uint32_t first, std::uint32_t slots) {
  const std::uint64_t one = std::uint64_t{1} << 44;
  return {(one + slots - 1) / std::max(slots, 1U), slots, first};
}

RansEncoder::RansEncoder(const RansTable& table) {
  for (std::size_t s = 0; s < symbols_.size(); ++s)
    symbols_[s] = SymbolAt(table.first_[s], table.slots_[s]);
}

void RansEncoder::Encode(std::span<const std::int16_t> levels, ByteWriter& out) {
  words_.resize(3 * levels.size() + 1);  // A level takes three words at most; one is overwritten.
  const std::uint16_t* const end = words_.data() + words_.size();
  LevelWriter writer(symbols_, words_.data() + words_.size());
  std::array<std::uint32_t, kStates> states{kLeast, kLeast, kLeast, kLeast};
  const std::size_t count = StatesOf(levels.size());
  std::size_t i = levels.size();
  for (; i % kStates != 0 || (count == 1 && i > 0); --i)
    states[(i - 1) % count] = writer.Put(states[(i - 1) % count], levels[i - 1]);
  for (; i > 0; i -= kStates) {
    states[3] = writer.Put(states[3], levels[i - 1]);
    states[2] = writer.Put(states[2], levels[i - 2]);
    states[1] = writer.Put(states[1], levels[i - 3]);
    states[0] = writer.Put(states[0], levels[i - 4]);
  }
  for (const std::uint32_t state : std::span(states).first(count)) out.Write(state);
  const auto used = static_cast<std::size_t>(end - writer.word());
  out.WriteSpan(std::as_bytes(std::span(writer.word(), used)));
}

}  // namespace fl
