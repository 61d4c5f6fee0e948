#include "fl/common/nn/internal/memory_plan.h"

#include <algorithm>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"

namespace fl::nn::internal {
namespace {

bool LiveTogether(const Lifetime& a, const Lifetime& b) {
  return a.first <= b.last && b.first <= a.last;
}

TEST_CASE("PlanMemory: a chain needs room for its two largest neighbours only") {
  const std::vector<Lifetime> chain = {{640, 0, 1}, {1280, 1, 2}, {640, 2, 3}, {64, 3, 4}};
  std::size_t total = 0;
  const std::vector<std::size_t> offsets = PlanMemory(chain, total);
  CHECK(total == 1920);
  CHECK(offsets[0] == offsets[2]);
}

TEST_CASE("PlanMemory: the smallest gap that holds a tensor is taken") {
  // Those that live in steps 0 and 1 leave gaps of 512 and 384 bytes between those that live
  // always.
  const std::vector<Lifetime> tensors = {{1024, 0, 9}, {512, 0, 1}, {448, 0, 9},
                                         {384, 0, 1},  {320, 0, 9}, {300, 3, 4}};
  std::size_t total = 0;
  const std::vector<std::size_t> offsets = PlanMemory(tensors, total);
  CHECK(total == 1024 + 512 + 448 + 384 + 320);
  CHECK(offsets[5] == offsets[3]);
}

TEST_CASE("PlanMemory: no tensors need no memory, and empty ones none of their own") {
  std::size_t total = 1;
  CHECK(PlanMemory({}, total).empty());
  CHECK(total == 0);
  PlanMemory(std::vector<Lifetime>{{0, 0, 1}, {0, 0, 1}}, total);
  CHECK(total == 0);
}

TEST_CASE("PlanMemory: tensors that live together never overlap, whatever the graph") {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    RngStream rng(seed);
    std::vector<Lifetime> tensors(2 + rng.UniformInteger(40));
    std::size_t sum = 0;
    for (Lifetime& tensor : tensors) {
      tensor.first = rng.UniformInteger(20);
      tensor.last = tensor.first + rng.UniformInteger(6);
      tensor.bytes = rng.UniformInteger(5000);
      sum += tensor.bytes + kMemoryPlanAlignment;
    }
    std::size_t total = 0;
    const std::vector<std::size_t> offsets = PlanMemory(tensors, total);
    std::size_t most_live = 0;
    for (std::size_t step = 0; step < 26; ++step) {
      std::size_t live = 0;
      for (const Lifetime& tensor : tensors) {
        if (tensor.first <= step && step <= tensor.last) live += tensor.bytes;
      }
      most_live = std::max(most_live, live);
    }
    CHECK(total >= most_live);
    CHECK(total <= sum);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      CHECK(offsets[i] % kMemoryPlanAlignment == 0);
      CHECK(offsets[i] + tensors[i].bytes <= total);
      for (std::size_t j = 0; j < i; ++j) {
        if (!LiveTogether(tensors[i], tensors[j])) continue;
        const bool apart = offsets[i] + tensors[i].bytes <= offsets[j] ||
                           offsets[j] + tensors[j].bytes <= offsets[i];
        CHECK(apart);
      }
    }
  }
}

}  // namespace
}  // namespace fl::nn::internal
