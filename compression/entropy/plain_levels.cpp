#include "fl/compression/entropy/plain_levels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>

#include "fl/common/base/error_detail.h"

namespace fl {
namespace {

constexpr unsigned kFives = 243;

// The digits of 0 to 242 to base 3 less one, the lowest first.
constexpr auto kLevels = [] {
  std::array<std::array<std::int32_t, kFive>, kFives> levels{};
  for (unsigned byte = 0; byte < kFives; ++byte) {
    unsigned rest = byte;
    for (std::int32_t& level : levels[byte]) {
      level = static_cast<std::int32_t>(rest % 3) - 1;
      rest /= 3;
    }
  }
  return levels;
}();

unsigned WidthOf(std::uint32_t max) {
  return static_cast<unsigned>(std::bit_width(2 * max));
}

std::uint32_t CodeAt(ByteSpan bytes, unsigned width, std::size_t index) {
  const std::size_t bit = index * width;
  std::uint32_t word = 0;
  std::memcpy(&word, bytes.data() + bit / 8,
              std::min<std::size_t>(sizeof(word), bytes.size() - bit / 8));
  return (word >> (bit % 8)) & ((1U << width) - 1);
}

Error Unknown(std::size_t index) {
  return {ErrorCode::kMalformed, "level " + std::to_string(index) + ": a code of no level",
          ErrorDetail::kLevelUnknown};
}

Result<> CheckFives(ByteSpan bytes, std::size_t count) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (std::to_integer<unsigned>(bytes[i]) >= kFives) return Unknown(kFive * i);
  }
  if (count % kFive == 0) return {};
  const auto& last = kLevels[std::to_integer<std::size_t>(bytes.back())];
  for (std::size_t i = count % kFive; i < kFive; ++i) {
    if (last[i] != -1) return Unknown(count);
  }
  return {};
}

// Five levels at a time, each byte a run.
void ReadFives(ByteSpan bytes, std::size_t first, std::size_t count, std::size_t to,
               LevelSink& sink) {
  for (std::size_t done = 0; done < count;) {
    const std::size_t at = first + done;
    const std::size_t size = std::min(kFive - at % kFive, count - done);
    const auto& levels = LevelsOfFive(std::to_integer<unsigned>(bytes[at / kFive]));
    sink.PutRun(to + done, std::span(levels).subspan(at % kFive, size));
    done += size;
  }
}

}  // namespace

const std::array<std::int32_t, kFive>& LevelsOfFive(unsigned byte) {
  return kLevels[byte];
}

std::size_t PlainBytes(std::size_t count, std::uint32_t max) {
  return max == 1 ? (count + kFive - 1) / kFive : (count * WidthOf(max) + 7) / 8;
}

void PlainWriter::WriteFives(std::span<const std::int16_t> levels) {
  constexpr std::array<std::uint64_t, kFive> kPower = {1, 3, 9, 27, 81};
  for (const std::int16_t level : levels) {
    word_ += kPower[used_] * static_cast<std::uint64_t>(level + 1);
    if (++used_ < kFive) continue;
    Finish();
  }
}

void PlainWriter::Write(std::span<const std::int16_t> levels) {
  if (max_ == 1) return WriteFives(levels);
  const unsigned width = WidthOf(max_);
  for (const std::int16_t level : levels) {
    word_ |= static_cast<std::uint64_t>(level + static_cast<std::int32_t>(max_)) << used_;
    for (used_ += width; used_ >= 8; used_ -= 8, word_ >>= 8)
      out_.Write(static_cast<std::uint8_t>(word_));
  }
}

void PlainWriter::Finish() {
  if (used_ > 0) out_.Write(static_cast<std::uint8_t>(word_));
  word_ = 0;
  used_ = 0;
}

Result<> CheckPlain(ByteSpan bytes, std::size_t count, std::uint32_t max) {
  if (max == 1) return CheckFives(bytes, count);
  const unsigned width = WidthOf(max);
  for (std::size_t i = 0; i < count; ++i) {
    if (CodeAt(bytes, width, i) > 2 * max) return Unknown(i);
  }
  const std::size_t used = count * width % 8;
  if (used != 0 && (std::to_integer<unsigned>(bytes.back()) >> used) != 0) return Unknown(count);
  return {};
}

void ReadPlain(ByteSpan bytes, std::uint32_t max, std::size_t first, std::size_t count,
               std::size_t to, LevelSink& sink) {
  if (max == 1) return ReadFives(bytes, first, count, to, sink);
  const unsigned width = WidthOf(max);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t code = CodeAt(bytes, width, first + i);
    if (code != max)
      sink.Put(to + i, static_cast<std::int32_t>(code) - static_cast<std::int32_t>(max));
  }
}

}  // namespace fl
