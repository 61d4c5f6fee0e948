#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

// Most levels are zero: passing over many of them by one test.
namespace fl {

inline constexpr std::size_t kNonzeroBlock = 32;

template <std::signed_integral Level>
bool AnyNonzero(std::span<const Level, kNonzeroBlock> levels) {
  Level bits = 0;  // A loop whose length the compiler knows becomes vectors.
  for (const Level level : levels) bits = static_cast<Level>(bits | level);
  return bits != 0;
}

// The index of the first level from `at` on that is not zero; that of the end where all are.
template <std::signed_integral Level>
std::size_t NextNonzero(std::span<const Level> levels, std::size_t at) {
  while (at + kNonzeroBlock <= levels.size() &&
         !AnyNonzero(levels.subspan(at).template first<kNonzeroBlock>()))
    at += kNonzeroBlock;
  while (at < levels.size() && levels[at] == 0) ++at;
  return at;
}

// Calls visit(at, block) for blocks of levels, in order, that hold all that are not zero; `at` is
// the index of a block's first level.
template <std::signed_integral Level, typename Visit>
void ForNonzeroBlocks(std::span<const Level> levels, Visit visit) {
  std::size_t at = 0;
  for (; at + kNonzeroBlock <= levels.size(); at += kNonzeroBlock) {
    const auto block = levels.subspan(at).template first<kNonzeroBlock>();
    if (AnyNonzero(block)) visit(at, std::span<const Level>(block));
  }
  if (at < levels.size()) visit(at, levels.subspan(at));
}

}  // namespace fl
