#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

// Most levels are zero: passing over many of them by one test.
namespace fl {

// Whether any of these is not zero.
template <std::signed_integral Level>
bool AnyNonzero(std::span<const Level> levels) {
  constexpr std::size_t kFixed = 8;  // A loop whose length the compiler knows becomes vectors.
  Level bits = 0;
  std::size_t i = 0;
  for (; i + kFixed <= levels.size(); i += kFixed) {
    for (std::size_t j = 0; j < kFixed; ++j) bits = static_cast<Level>(bits | levels[i + j]);
  }
  for (; i < levels.size(); ++i) bits = static_cast<Level>(bits | levels[i]);
  return bits != 0;
}

// Calls visit(at, block) for each block of levels, in order, of which any is not zero; `at` is the
// index of its first level.
template <std::signed_integral Level, typename Visit>
void ForNonzeroBlocks(std::span<const Level> levels, Visit visit) {
  constexpr std::size_t kBlock = 16;
  constexpr std::size_t kAhead = 1024;  // A single stream, which the processor fetches too late.
  for (std::size_t at = 0; at < levels.size(); at += kBlock) {
    __builtin_prefetch(levels.data() + at + kAhead);
    const auto block = levels.subspan(at, std::min(kBlock, levels.size() - at));
    if (AnyNonzero(block)) visit(at, block);
  }
}

}  // namespace fl
