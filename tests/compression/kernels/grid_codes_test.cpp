#include "fl/compression/kernels/grid_codes.h"

#include <vector>

#include <doctest/doctest.h>
#include <hwy/targets.h>

#include "fl/common/random/rng_stream.h"
#include "fl/compression/kernels/unpack_codes.h"

namespace fl::kernels {
namespace {

// Runs the test with each instruction set that this machine has.
template <typename Test>
void ForTargets(Test test) {
  const std::int64_t all = hwy::SupportedTargets();
  for (std::int64_t left = all; left != 0; left &= left - 1) {
    const std::int64_t target = left & -left;
    CAPTURE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    test();
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST_CASE(
    "FindGridCodes, FindRandomCodes, LargestMagnitude: the reference's with each instruction set") {
  const LevelGrid grids[] = {{.step = 0.03F, .low = 0, .zero = 127},
                             {.step = 0.5F, .low = 0, .zero = 3},  // Ties.
                             {.step = 1e-30F, .low = -2, .zero = 0}};
  ForTargets([&] {
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

TEST_CASE("UnpackWidth: the reference's codes with each instruction set, width and length") {
  Bytes bytes(200);
  RngStream rng(8);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.NextU32() & 255U);
  ForTargets([&] {
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
