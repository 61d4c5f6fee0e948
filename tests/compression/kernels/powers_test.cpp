#include "fl/compression/kernels/powers.h"

#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"
#include "fl/tests/support/simd_targets.h"

namespace fl::kernels {
namespace {

TEST_CASE("RoundToPowers: the reference's bits with each instruction set") {
  testing::ForEachTarget([] {
    for (std::size_t length = 0; length <= 70; ++length) {
      CAPTURE(length);
      std::vector<float> values(length);
      std::vector<std::uint32_t> words(length);
      RngStream rng(length);
      rng.FillNormal(values);
      rng.FillWords(words);
      const float ends[] = {0.0F, -0.0F, 3.4e38F, -3.4e38F, 1e-45F, -1e-39F};
      for (std::size_t i = 0; i < std::min(length, std::size(ends)); ++i) values[i] = ends[i];
      std::vector<std::uint8_t> exponents(length);
      std::vector<std::uint8_t> negative(length);
      std::vector<std::uint8_t> expected_exponents(length);
      std::vector<std::uint8_t> expected_negative(length);
      RoundToPowers(values, words, exponents, negative);
      RoundToPowersReference(values, words, expected_exponents, expected_negative);
      CHECK(exponents == expected_exponents);
      CHECK(negative == expected_negative);
    }
  });
}

}  // namespace
}  // namespace fl::kernels
