#include "fl/compression/kernels/codebook.h"

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"
#include "fl/compression/codecs/normal_levels.h"
#include "fl/tests/support/simd_targets.h"

namespace fl::kernels {
namespace {

template <typename Test>
void ForTargetsWidthsAndLengths(Test test) {
  testing::ForEachTarget([&] {
    for (const unsigned bits : {1U, 2U, 3U, 4U, 5U, 8U}) {
      CAPTURE(bits);
      for (std::size_t length = 0; length <= 70; ++length) test(bits, length);
    }
  });
}

TEST_CASE("FindCodes: every instruction set gives the reference's codes") {
  ForTargetsWidthsAndLengths([](unsigned bits, std::size_t length) {
    std::vector<float> values(length);
    RngStream(length).FillNormal(values);
    const auto thresholds = NormalThresholds(bits);
    if (length > 3) values[3] = thresholds.back();  // Equal: the upper level.
    std::vector<std::uint8_t> codes(length);
    std::vector<std::uint8_t> expected(length);
    FindCodes(values, thresholds, codes);
    FindCodesReference(values, thresholds, expected);
    CHECK(codes == expected);
    if (length > 3) CHECK(codes[3] == thresholds.size());
  });
}

TEST_CASE("FindCodes: the code is that of the nearest level") {
  std::vector<float> values(1000);
  RngStream(1).FillNormal(values);
  for (const unsigned bits : {2U, 6U}) {
    CAPTURE(bits);
    const auto levels = NormalLevels(bits);
    std::vector<std::uint8_t> codes(values.size());
    FindCodes(values, NormalThresholds(bits), codes);
    for (std::size_t i = 0; i < values.size(); ++i) {
      for (const float level : levels) {
        CHECK(std::abs(values[i] - levels[codes[i]]) <= std::abs(values[i] - level) + 1e-6F);
      }
    }
  }
}

TEST_CASE("AddCodebook, FindLevels: every instruction set gives the reference's bits") {
  ForTargetsWidthsAndLengths([](unsigned bits, std::size_t length) {
    RngStream rng(length);
    std::vector<std::uint8_t> codes(length);
    for (std::uint8_t& code : codes)
      code = static_cast<std::uint8_t>(rng.UniformInteger(std::size_t{1} << bits));
    std::vector<float> out(length);
    rng.FillNormal(out);
    std::vector<float> expected = out;
    AddCodebook(codes, NormalLevels(bits), 0.7F, out);
    AddCodebookReference(codes, NormalLevels(bits), 0.7F, expected);
    CHECK(out == expected);
    FindLevels(codes, NormalLevels(bits), out);
    FindLevelsReference(codes, NormalLevels(bits), expected);
    CHECK(out == expected);
  });
}

}  // namespace
}  // namespace fl::kernels
