#include "fl/compression/entropy/rans_levels.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "fl/common/base/check.h"
#include "fl/compression/entropy/range_coder.h"

namespace fl {
namespace {

constexpr std::uint32_t kSlots = 4096;
constexpr std::uint32_t kLeast = 1U << 16;  // A state is in [2^16, 2^32).
constexpr std::size_t kLarger = 2 * kRansLevelMax + 1;
constexpr std::size_t kZero = kRansLevelMax;

std::size_t SymbolOf(std::int32_t level) {
  return level < -kRansLevelMax || level > kRansLevelMax
             ? kLarger
             : static_cast<std::size_t>(level + kRansLevelMax);
}

std::size_t StatesOf(std::size_t count) {
  return count >= 32768 ? 4 : 1;
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

// The states of a part being written, backwards.
class Coder {
 public:
  void Put(std::uint32_t& state, std::uint32_t first, std::uint32_t slots) {
    if (state >= std::uint64_t{slots} << 20) {
      words_.push_back(static_cast<std::uint16_t>(state));
      state >>= 16;
    }
    state = (state / slots) * kSlots + state % slots + first;
  }
  void Finish(std::span<const std::uint32_t> states, ByteWriter& out) const {
    for (const std::uint32_t state : states) out.Write(state);
    for (auto word = words_.rbegin(); word != words_.rend(); ++word) out.Write(*word);
  }

 private:
  std::vector<std::uint16_t> words_;
};

// The words of a part being read; after the end come others, and AtEnd is false.
class Words {
 public:
  explicit Words(ByteSpan bytes) : bytes_(bytes) {
    constexpr static std::array<std::byte, 2> kNone{};
    if (bytes.size() < 2) bytes_ = kNone;
  }
  // Without a branch that the words decide.
  void Refill(std::uint32_t& state) {
    std::uint16_t word = 0;
    std::memcpy(&word, bytes_.data() + std::min(next_, bytes_.size() - 2), sizeof(word));
    const bool wanted = state < kLeast;
    state = wanted ? state << 16 | word : state;
    next_ += wanted ? 2 : 0;
  }
  std::uint32_t Byte(std::uint32_t& state) {
    const std::uint32_t byte = (state % kSlots) / 16;
    state = 16 * (state / kSlots) + state % 16;
    Refill(state);
    return byte;
  }
  bool AtEnd(ByteSpan bytes) const { return next_ == bytes.size(); }

 private:
  ByteSpan bytes_;
  std::size_t next_ = 0;
};

}  // namespace

void CountRansSymbols(std::span<const std::int32_t> levels, RansCounts& counts) {
  for (const std::int32_t level : levels) ++counts[SymbolOf(level)];
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

void RansTable::Encode(std::span<const std::int32_t> levels, ByteWriter& out) const {
  std::array<std::uint32_t, 4> states{kLeast, kLeast, kLeast, kLeast};
  const std::size_t count = StatesOf(levels.size());
  Coder coder;
  for (std::size_t i = levels.size(); i-- > 0;) {
    std::uint32_t& state = states[i % count];
    const std::size_t symbol = SymbolOf(levels[i]);
    if (symbol == kLarger) {
      const auto shifted = static_cast<std::uint32_t>(levels[i] + 32768);
      coder.Put(state, shifted % 256 * 16, 16);
      coder.Put(state, shifted / 256 * 16, 16);
    }
    coder.Put(state, first_[symbol], slots_[symbol]);
  }
  coder.Finish(std::span(states).first(count), out);
}

// A slot's symbol, its place among those of the symbol, and their number less one: 8, 12, 12 bits.
RansTable::Slots RansTable::ReadSlots() const {
  Slots slots;
  for (std::uint32_t s = 0; s < slots_.size(); ++s) {
    for (std::uint32_t place = 0; place < slots_[s]; ++place)
      slots[first_[s] + place] = (slots_[s] - 1U) << 20 | place << 8 | s;
  }
  return slots;
}

Result<> RansTable::Decode(ByteSpan bytes, std::size_t count, std::size_t to, RansCounts& counts,
                           LevelSink& sink) const {
  const Slots slots = ReadSlots();
  const std::size_t mask = StatesOf(count) - 1;
  const std::size_t head = 4 * (mask + 1);
  std::array<std::uint32_t, 4> states{kLeast, kLeast, kLeast, kLeast};
  if (bytes.size() < head) return Malformed("expected the states of a part");
  std::memcpy(states.data(), bytes.data(), head);
  const auto too_small = [](std::uint32_t state) { return state < kLeast; };
  if (std::ranges::any_of(states, too_small)) return Malformed("expected states of 2^16 and more");
  Words words(bytes.subspan(head));
  constexpr std::size_t kRun = 512;
  std::array<std::int32_t, kRun> run;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t& state = states[i & mask];
    const std::uint32_t slot = slots[state % kSlots];
    const std::size_t symbol = slot & 255U;
    state = ((slot >> 20) + 1) * (state / kSlots) + ((slot >> 8) & 4095U);
    words.Refill(state);
    ++counts[symbol];
    auto level = static_cast<std::int32_t>(symbol) - kRansLevelMax;
    if (symbol == kLarger) {
      const std::uint32_t upper = words.Byte(state);
      level = static_cast<std::int32_t>(256 * upper + words.Byte(state)) - 32768;
      const auto magnitude = static_cast<std::uint32_t>(level < 0 ? -level : level);
      if (SymbolOf(level) != kLarger || magnitude > max_) return Malformed("a level out of range");
    }
    const std::size_t place = i % kRun;
    run[place] = level;
    if (place + 1 == kRun || i + 1 == count)
      sink.PutRun(to + i - place, std::span(run).first(place + 1));
  }
  const auto begun = [](std::uint32_t state) { return state == kLeast; };
  if (words.AtEnd(bytes.subspan(head)) && std::ranges::all_of(states, begun)) return {};
  return Malformed("expected the states to end where they began and no words after that");
}

}  // namespace fl
