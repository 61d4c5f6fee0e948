#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace fl {

// Where a writer of an entropy code gets an array's levels, from the first to the last and, as it
// first wants to know how many there are of each, more than once; so they need not lie in memory
// all at the same time. Thread safety: distinct objects safe.
class LevelSource {
 public:
  virtual ~LevelSource() = default;
  // The next levels are the first ones again.
  virtual void Restart() = 0;
  // The next levels, at most as many as are left; the same ones each time.
  virtual void Next(std::span<std::int16_t> out) = 0;
};

// Hands `count` levels on from the first one, in blocks: visit(at, block), `at` being the index of
// the block's first level.
template <typename Visit>
void ForLevelBlocks(LevelSource& source, std::size_t count, Visit visit) {
  constexpr std::size_t kBlock =
      8192;  // In the first cache, with the values that they are made of.
  std::array<std::int16_t, kBlock> levels;
  source.Restart();
  for (std::size_t at = 0; at < count; at += kBlock) {
    const auto block = std::span(levels).first(std::min(kBlock, count - at));
    source.Next(block);
    visit(at, std::span<const std::int16_t>(block));
  }
}

// An array's levels, which outlives this, of magnitudes up to 32767.
class ArraySource final : public LevelSource {
 public:
  explicit ArraySource(std::span<const std::int32_t> levels) : levels_(levels), left_(levels) {}
  void Restart() override { left_ = levels_; }
  void Next(std::span<std::int16_t> out) override {
    std::ranges::transform(left_.first(out.size()), out.begin(),
                           [](std::int32_t level) { return static_cast<std::int16_t>(level); });
    left_ = left_.subspan(out.size());
  }

 private:
  std::span<const std::int32_t> levels_;
  std::span<const std::int32_t> left_;
};

}  // namespace fl
