#include "fl/compression/entropy/sparse_levels.h"

#include <array>

#include "fl/common/base/check.h"

namespace fl {
namespace {

constexpr std::size_t kRun = 256;  // Levels handed on at once.

// Our own bytes, so nothing is checked.
std::uint64_t NextVarint(const std::byte*& at) {
  auto byte = std::to_integer<std::uint64_t>(*at++);
  std::uint64_t value = byte & 0x7FU;
  for (unsigned shift = 7; byte >= 0x80; shift += 7) {
    byte = std::to_integer<std::uint64_t>(*at++);
    value |= (byte & 0x7FU) << shift;
  }
  return value;
}

void AppendVarint(std::uint64_t value, Bytes& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::byte>(value | 0x80));
  out.push_back(static_cast<std::byte>(value));
}

}  // namespace

void SparseLevels::Add(std::size_t index, std::int32_t level) {
  if (!complete_) return;
  AppendVarint(index - next_, bytes_);
  AppendVarint(static_cast<std::uint32_t>(level) << 1 ^ static_cast<std::uint32_t>(level >> 31),
               bytes_);
  next_ = index + 1;
  if (bytes_.size() <= bytes_max_) return;
  complete_ = false;
  bytes_ = Bytes();
}

void SparseLevels::Read(std::size_t first, std::size_t count, LevelSink& sink) const {
  FL_CHECK(complete_, "only what is complete is read");
  std::array<std::uint32_t, kRun> places;
  std::array<std::int32_t, kRun> levels;
  std::size_t run = 0;
  std::size_t index = first_;
  const std::byte* const end = bytes_.data() + bytes_.size();
  for (const std::byte* at = bytes_.data(); at != end; ++index) {
    index += NextVarint(at);
    const auto zigzag = static_cast<std::int32_t>(NextVarint(at));
    if (index >= first + count) break;
    // What lies before `first` is overwritten by the next one.
    places[run] = static_cast<std::uint32_t>(index - first);
    levels[run] = (zigzag >> 1) ^ -(zigzag & 1);
    run += index >= first ? 1 : 0;
    if (run < kRun) continue;
    sink.PutPlaces(first, places, levels);
    run = 0;
  }
  sink.PutPlaces(first, std::span(places).first(run), std::span(levels).first(run));
}

}  // namespace fl
