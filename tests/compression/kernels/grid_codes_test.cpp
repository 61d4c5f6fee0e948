#include "fl/compression/kernels/grid_codes.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"
#include "fl/compression/kernels/unpack_codes.h"
#include "fl/tests/support/simd_targets.h"

namespace fl::kernels {
namespace {

TEST_CASE(
    "FindGridCodes, FindRandomCodes, LargestMagnitude: the reference's with each instruction set") {
  const LevelGrid grids[] = {{.step = 0.03F, .low = 0, .zero = 127},
                             {.step = 0.5F, .low = 0, .zero = 3},  // Ties.
                             {.step = 1e-30F, .low = -2, .zero = 0}};
  testing::ForEachTarget([&] {
    for (std::size_t length = 0; length <= 140; ++length) {
      CAPTURE(length);
      std::vector<float> values(length);
      std::vector<float> uniforms(length);
      RngStream rng(length);
      rng.FillNormal(values);
      rng.FillUniform(uniforms);
      for (std::size_t i = 0; i < length; i += 3) values[i] = 0.25F * static_cast<float>(i % 9) - 1;
      CHECK(LargestMagnitude(values) == LargestMagnitudeReference(values));
      for (const LevelGrid& grid : grids) {
        std::vector<std::uint8_t> codes(length);
        std::vector<std::uint8_t> expected(length);
        FindGridCodes(values, grid, 254, codes);
        FindGridCodesReference(values, grid, 254, expected);
        CHECK(codes == expected);
        FindRandomCodes(values, uniforms, grid, 254, codes);
        FindRandomCodesReference(values, uniforms, grid, 254, expected);
        CHECK(codes == expected);
      }
    }
  });
}

// Steps of eight significant bits, for which quotients are found without a division.
TEST_CASE("FindGridCodes, FindRandomCodes: a short step gives the quotient's bits") {
  const std::vector<float> uniforms(500);  // A fraction above zero goes up.
  testing::ForEachTarget([&] {
    for (unsigned significand = 128; significand < 256; ++significand) {
      for (const float unit : {0x1p-8F, 0x1p-20F, 0x1p-67F}) {
        const float step = static_cast<float>(significand) * unit;
        CAPTURE(step);
        std::vector<float> values(uniforms.size());
        RngStream(significand).FillNormal(values);
        for (std::size_t i = 0; i < values.size(); ++i) values[i] *= 40 * step;
        // Whole multiples and the middles between them, and their neighbours.
        for (std::size_t i = 0; i < 300; ++i) {
          const std::size_t place = i / 3;
          values[i] = (static_cast<float>(place) - 50) * step / 2;
          if (i % 3 > 0) values[i] = std::nextafter(values[i], i % 3 == 1 ? -1.0F : 1.0F);
        }
        const float ends[] = {3e38F, -3e38F, 1e-45F, -1e-45F, 1e-38F, 0x1p-102F, 0.0F, -0.0F};
        std::ranges::copy(ends, values.begin() + 300);
        for (const LevelGrid& grid : {LevelGrid{.step = step, .low = 0, .zero = 127},
                                      LevelGrid{.step = step, .low = 0, .zero = 0},
                                      LevelGrid{.step = step, .low = -90 * step, .zero = 0}}) {
          std::vector<std::uint8_t> codes(values.size());
          std::vector<std::uint8_t> expected(values.size());
          FindGridCodes(values, grid, 254, codes);
          FindGridCodesReference(values, grid, 254, expected);
          CHECK(codes == expected);
          FindRandomCodes(values, uniforms, grid, 254, codes);
          FindRandomCodesReference(values, uniforms, grid, 254, expected);
          CHECK(codes == expected);
        }
      }
    }
  });
}

TEST_CASE("UnpackWidth: the reference's codes with each instruction set, width and length") {
  Bytes bytes(200);
  RngStream rng(8);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.NextU32() & 255U);
  testing::ForEachTarget([&] {
    for (unsigned width = 1; width <= 7; ++width) {
      CAPTURE(width);
      for (std::size_t length = 0; length <= 150; ++length) {
        const ByteSpan packed = ByteSpan(bytes).first((length * width + 7) / 8);
        std::vector<std::uint8_t> codes(length);
        std::vector<std::uint8_t> expected(length);
        UnpackWidth(packed, width, codes);
        UnpackWidthReference(packed, width, expected);
        CHECK(codes == expected);
      }
    }
  });
}

}  // namespace
}  // namespace fl::kernels
