#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace fl::nn::internal {

// Every offset is a multiple of this: a cache line, which the kernels read fastest.
inline constexpr std::size_t kMemoryPlanAlignment = 64;

// How long a tensor lives: its memory is its own from step `first` to step `last`, both included.
struct Lifetime {
  std::size_t bytes = 0;
  std::size_t first = 0;
  std::size_t last = 0;
};

// Offsets of all tensors in one arena of `total` bytes, so that tensors which live in one step
// never overlap. The largest are placed first, each in the smallest gap that holds it among those
// that live with it, else behind them (best fit by size; Pisarchyk & Lee 2020, arXiv:2001.03288).
// Equal sizes keep their order, so the plan is deterministic. O(n^2 log n) for n tensors; `first`
// must not be after `last`.
std::vector<std::size_t> PlanMemory(std::span<const Lifetime> tensors, std::size_t& total);

}  // namespace fl::nn::internal
