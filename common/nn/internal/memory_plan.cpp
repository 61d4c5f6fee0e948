#include "fl/common/nn/internal/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "fl/common/base/check.h"

namespace fl::nn::internal {
namespace {

struct Extent {
  std::size_t begin = 0;
  std::size_t end = 0;
};

constexpr std::size_t Aligned(std::size_t bytes) {
  return (bytes + kMemoryPlanAlignment - 1) / kMemoryPlanAlignment * kMemoryPlanAlignment;
}

// Where `bytes` fit best between extents sorted by their begin.
std::size_t BestFit(std::span<const Extent> taken, std::size_t bytes) {
  std::size_t best = 0;
  std::size_t best_gap = 0;
  bool found = false;
  std::size_t end = 0;
  for (const Extent& extent : taken) {
    const std::size_t gap = extent.begin > end ? extent.begin - end : 0;
    if (gap >= bytes && (!found || gap < best_gap)) {
      best = end;
      best_gap = gap;
      found = true;
    }
    end = std::max(end, extent.end);
  }
  return found ? best : end;
}

}  // namespace

std::vector<std::size_t> PlanMemory(std::span<const Lifetime> tensors, std::size_t& total) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(
      order, [&](std::size_t a, std::size_t b) { return tensors[a].bytes > tensors[b].bytes; });
  std::vector<std::size_t> offsets(tensors.size());
  std::vector<Extent> taken;
  total = 0;
  for (std::size_t at = 0; at < order.size(); ++at) {
    const Lifetime& tensor = tensors[order[at]];
    FL_CHECK(tensor.first <= tensor.last, "a tensor lives from its first step to its last");
    taken.clear();
    for (const std::size_t other : std::span(order).first(at)) {
      if (tensors[other].first > tensor.last || tensors[other].last < tensor.first) continue;
      taken.push_back({offsets[other], offsets[other] + Aligned(tensors[other].bytes)});
    }
    std::ranges::sort(taken, {}, &Extent::begin);
    offsets[order[at]] = BestFit(taken, Aligned(tensor.bytes));
    total = std::max(total, offsets[order[at]] + Aligned(tensor.bytes));
  }
  return offsets;
}

}  // namespace fl::nn::internal
