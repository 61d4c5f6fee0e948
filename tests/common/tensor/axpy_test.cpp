#include "fl/common/tensor/kernels/axpy.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/support/property.h"
#include "fl/tests/support/simd_targets.h"

namespace fl::testing {
namespace {

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::ranges::equal(a, b, {}, std::bit_cast<std::uint32_t, float>,
                            std::bit_cast<std::uint32_t, float>);
}

}  // namespace

TEST_CASE("Axpy: each instruction set gives the bits of the reference") {
  ForEachTarget([] {
    ForAll(50, [](RngStream& rng) {
      const std::size_t count = rng.UniformInteger(3 * 16 + 2);
      std::vector<float> x(count);
      std::vector<float> out(count);
      rng.FillNormal(x);
      rng.FillNormal(out);
      std::vector<float> expected = out;
      const float scale = rng.Normal();
      kernels::AxpyReference(scale, x, expected);
      kernels::Axpy(scale, x, out);
      CHECK(SameBits(out, expected));
    });
  });
}

TEST_CASE("Axpy: the product is rounded before the sum") {
  // (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24; fused with -(1 + 2^-11) it would leave 2^-24, rounded first
  // it leaves zero.
  const float a = 1.0F + 0x1.0p-12F;
  ForEachTarget([a] {
    const std::vector<float> x(40, a);
    std::vector<float> out(40, -(1.0F + 0x1.0p-11F));
    kernels::Axpy(a, x, out);
    for (const float value : out) CHECK(value == 0.0F);
  });
}

TEST_CASE("Axpy: subnormal products are kept") {
  ForEachTarget([] {
    const std::vector<float> x(20, std::numeric_limits<float>::min());
    std::vector<float> out(20, 0.0F);
    kernels::Axpy(0.25F, x, out);
    for (const float value : out) CHECK(value == std::numeric_limits<float>::min() * 0.25F);
  });
}

TEST_CASE("Axpy: a vector can be added to itself") {
  std::vector<float> values(37, 3.0F);
  kernels::Axpy(1.0F, values, values);
  CHECK(values == std::vector<float>(37, 6.0F));
}

}  // namespace fl::testing
