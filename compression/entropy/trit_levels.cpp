#include "fl/compression/entropy/trit_levels.h"

#include <algorithm>
#include <string>

#include "fl/common/base/error_detail.h"
#include "fl/compression/entropy/plain_levels.h"

namespace fl {
namespace {

constexpr unsigned kZeros = 121;     // Five of them.
constexpr unsigned kRunFirst = 243;  // Two fives of zeros; the next values are three and so on.
constexpr std::size_t kRunLeast = 2;
constexpr std::size_t kRunMost = 14;

std::size_t FivesOf(std::size_t count) {
  return (count + kFive - 1) / kFive;
}

void WriteZeros(std::size_t fives, ByteWriter& out) {
  for (; fives > 0; fives -= std::min(fives, kRunMost)) {
    const std::size_t run = std::min(fives, kRunMost);
    out.Write(static_cast<std::uint8_t>(run < kRunLeast ? kZeros : kRunFirst + run - kRunLeast));
  }
}

// Fives of zeros that a byte stands for; 0: it holds levels.
std::size_t ZerosIn(unsigned byte) {
  if (byte == kZeros) return 1;
  return byte < kRunFirst ? 0 : byte - kRunFirst + kRunLeast;
}

// The end of the levels of the five at that place.
std::size_t EndOf(std::size_t five, std::size_t count) {
  return std::min((five + 1) * kFive, count);
}

Error Malformed(std::size_t byte, const std::string& what) {
  return {ErrorCode::kMalformed, "byte " + std::to_string(byte) + " of the trits: " + what,
          ErrorDetail::kCodeDamaged};
}

// That the fill behind the last level is zeros.
bool FillIsZero(unsigned byte, std::size_t levels) {
  const auto& five = LevelsOfFive(byte);
  return std::all_of(five.begin() + static_cast<std::ptrdiff_t>(levels), five.end(),
                     [](std::int32_t level) { return level == 0; });
}

}  // namespace

void WriteTritLevels(std::span<const std::int16_t> levels, ByteWriter& out) {
  std::size_t zeros = 0;
  for (std::size_t i = 0; i < levels.size(); i += kFive) {
    unsigned byte = 0;
    for (std::size_t j = kFive; j-- > 0;)
      byte = byte * 3 + static_cast<unsigned>((i + j < levels.size() ? levels[i + j] : 0) + 1);
    if (byte == kZeros) {
      ++zeros;
      continue;
    }
    WriteZeros(zeros, out);
    zeros = 0;
    out.Write(static_cast<std::uint8_t>(byte));
  }
  WriteZeros(zeros, out);
}

Result<> DecodeTritLevels(ByteSpan bytes, std::size_t count, std::size_t to, LevelSink& sink) {
  const std::size_t fives = FivesOf(count);
  std::size_t at = 0;
  bool run_ended = false;  // No zeros may follow.
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = std::to_integer<unsigned>(bytes[i]);
    const std::size_t zeros = ZerosIn(byte);
    if (at + std::max<std::size_t>(zeros, 1) > fives)
      return Malformed(i, "more levels than there are");
    if (zeros > 0 && run_ended) return Malformed(i, "expected zeros in as few bytes as hold them");
    run_ended = zeros > 0 && zeros < kRunMost;
    if (zeros == 0) {
      const std::size_t size = EndOf(at, count) - at * kFive;
      if (!FillIsZero(byte, size)) return Malformed(i, "expected zeros behind the last level");
      sink.PutRun(to + at * kFive, std::span(LevelsOfFive(byte)).first(size));
    }
    at += std::max<std::size_t>(zeros, 1);
  }
  if (at == fives) return {};
  return Malformed(bytes.size(), "fewer levels than there are");
}

void ReadTritLevels(ByteSpan bytes, std::size_t count, std::size_t stop, std::size_t to,
                    LevelSink& sink) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < bytes.size() && at * kFive < stop; ++i) {
    const auto byte = std::to_integer<unsigned>(bytes[i]);
    const std::size_t zeros = ZerosIn(byte);
    if (zeros == 0) {
      const std::size_t size = EndOf(at, count) - at * kFive;
      sink.PutRun(to + at * kFive, std::span(LevelsOfFive(byte)).first(size));
    }
    at += std::max<std::size_t>(zeros, 1);
  }
}

}  // namespace fl
