#include "fl/compression/kernels/hadamard.h"

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"
#include "fl/tests/support/simd_targets.h"

namespace fl::kernels {
namespace {

std::vector<float> Values(std::size_t count) {
  std::vector<float> values(count);
  RngStream(count).FillNormal(values);
  return values;
}

std::vector<std::uint32_t> Signs(std::size_t count) {
  std::vector<std::uint32_t> signs((count + 31) / 32);
  RngStream rng(count + 1);
  for (std::uint32_t& word : signs) word = rng.NextU32();
  return signs;
}

TEST_CASE("RotateForward and RotateBack: every instruction set gives the reference's bits") {
  testing::ForEachTarget([] {
    for (std::size_t count = 1; count <= 4096; count *= 2) {
      CAPTURE(count);
      const std::vector<std::uint32_t> signs = Signs(count);
      std::vector<float> values = Values(count);
      std::vector<float> expected = values;
      RotateForward(values, signs, values);
      RotateForwardReference(expected, signs, expected);
      CHECK(values == expected);
      RotateBack(values, signs);
      RotateBackReference(expected, signs);
      CHECK(values == expected);
    }
  });
}

TEST_CASE("RotateForward: a unit vector becomes a row of signs over the root of the length") {
  std::vector<float> values(8);
  values[5] = 1;  // 101 in binary: the sign of place j is that of the bits of j & 5.
  RotateForward(values, std::vector<std::uint32_t>{0}, values);
  const float level = 1 / std::sqrt(8.0F);
  for (unsigned j = 0; j < 8; ++j) {
    CAPTURE(j);
    const bool negative = (((j & 5U) >> 2) ^ (j & 1U)) != 0;
    CHECK(values[j] == doctest::Approx(negative ? -level : level));
  }
}

TEST_CASE("RotateForward: a set bit changes the sign of a value") {
  std::vector<float> values = {1, 0};
  RotateForward(values, std::vector<std::uint32_t>{1}, values);
  CHECK(values[0] < 0);
  CHECK(values[1] < 0);
}

TEST_CASE("RotateForward: norms stay and RotateBack gives the values back") {
  for (const std::size_t count : {1UL, 64UL, 1024UL, 4096UL}) {
    CAPTURE(count);
    const std::vector<float> original = Values(count);
    const std::vector<std::uint32_t> signs = Signs(count);
    std::vector<float> values = original;
    RotateForward(values, signs, values);
    double before = 0;
    double after = 0;
    for (std::size_t i = 0; i < count; ++i) {
      before += std::pow(static_cast<double>(original[i]), 2.0);
      after += std::pow(static_cast<double>(values[i]), 2.0);
    }
    CHECK(after == doctest::Approx(before).epsilon(1e-6));
    RotateBack(values, signs);
    for (std::size_t i = 0; i < count; ++i) CHECK(std::fabs(values[i] - original[i]) < 2e-6F);
  }
}

}  // namespace
}  // namespace fl::kernels
