#include "fl/compression/entropy/sparse_levels.h"

#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/support/property.h"

namespace fl {
namespace {

class VectorSink final : public LevelSink {
 public:
  VectorSink(std::size_t first, std::size_t count) : first_(first), levels_(count) {}
  void Put(std::size_t index, std::int32_t level) override { levels_.at(index - first_) = level; }
  const std::vector<std::int32_t>& levels() const { return levels_; }

 private:
  std::size_t first_;
  std::vector<std::int32_t> levels_;
};

TEST_CASE("SparseLevels: any range gives back the levels that were added") {
  testing::ForAll(60, [](RngStream& rng) {
    const std::size_t first = rng.UniformInteger(1U << 20);
    std::vector<std::int32_t> levels(1 + rng.UniformInteger(3000));
    const std::uint64_t gap = 1 + rng.UniformInteger(300);
    SparseLevels sparse(first, 1U << 20);
    for (std::size_t i = rng.UniformInteger(gap); i < levels.size();
         i += 1 + rng.UniformInteger(gap)) {
      const auto magnitude =
          static_cast<std::int32_t>(1 + rng.UniformInteger(1U << rng.UniformInteger(16)));
      levels[i] = rng.UniformInteger(2) == 0 ? magnitude : -magnitude;
      sparse.Add(first + i, levels[i]);
    }
    REQUIRE(sparse.complete());
    const std::size_t begin = rng.UniformInteger(levels.size());
    const std::size_t count = rng.UniformInteger(levels.size() - begin + 1);
    VectorSink sink(first + begin, count);
    sparse.Read(first + begin, count, sink);
    const auto expected = std::span(levels).subspan(begin, count);
    CHECK(std::ranges::equal(sink.levels(), expected));
  });
}

TEST_CASE("SparseLevels: they are complete as long as their bytes have room") {
  SparseLevels sparse(7, 4);
  CHECK(sparse.complete());
  sparse.Add(7, 1);
  sparse.Add(8, -63);
  CHECK(sparse.complete());
  sparse.Add(9, 1);
  CHECK(!sparse.complete());
  sparse.Add(10, 1);
  CHECK(!sparse.complete());
}

}  // namespace
}  // namespace fl
