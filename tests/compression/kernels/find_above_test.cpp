#include "fl/compression/kernels/find_above.h"

#include <bit>
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"
#include "fl/tests/support/simd_targets.h"

namespace fl::kernels {
namespace {

TEST_CASE("FindAbove: all instruction sets find the same indices") {
  testing::ForEachTarget([] {
    RngStream rng(1);
    for (const std::size_t length : {0UL, 1UL, 15UL, 63UL, 64UL, 65UL, 255UL, 1000UL, 4096UL}) {
      CAPTURE(length);
      std::vector<float> values(length);
      rng.FillNormal(values);
      for (const float least : {0.0F, 1e-30F, 0.5F, 2.5F, 100.0F}) {
        CAPTURE(least);
        const auto bits = std::bit_cast<std::uint32_t>(least);
        std::vector<std::uint32_t> found(length + kFindAboveSlack);
        std::vector<std::uint32_t> expected(length);
        const std::size_t count = FindAbove(values, bits, 77, found);
        REQUIRE(count == FindAboveReference(values, bits, 77, expected));
        found.resize(count);
        expected.resize(count);
        CHECK(found == expected);
      }
    }
  });
}

TEST_CASE("FindAbove: a magnitude at the bound counts whatever its sign") {
  const std::vector<float> values = {2, -2, 1.9999999F, -0.0F, 0, INFINITY, -INFINITY};
  std::vector<std::uint32_t> found(values.size() + kFindAboveSlack);
  REQUIRE(FindAbove(values, std::bit_cast<std::uint32_t>(2.0F), 0, found) == 4);
  found.resize(4);
  CHECK(found == std::vector<std::uint32_t>{0, 1, 5, 6});
  CHECK(FindAboveReference(values, 1, 0, found = std::vector<std::uint32_t>(7)) == 5);
}

}  // namespace
}  // namespace fl::kernels
