#include "fl/compression/kernels/add_values.h"

#include <vector>

#include <doctest/doctest.h>
#include <hwy/targets.h>

#include "fl/common/random/rng_stream.h"

namespace fl::kernels {
namespace {

// Runs the test with each instruction set that this machine has, for lengths around the vectors'
// and at an odd address.
template <typename Test>
void ForTargetsAndLengths(Test test) {
  const std::int64_t all = hwy::SupportedTargets();
  for (std::int64_t left = all; left != 0; left &= left - 1) {
    const std::int64_t target = left & -left;
    CAPTURE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    for (std::size_t length = 0; length <= 70; ++length) {
      CAPTURE(length);
      test(length);
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

Bytes RandomBytes(std::size_t count) {
  RngStream rng(count + 1);
  Bytes bytes(count);
  for (std::byte& byte : bytes)
    byte = static_cast<std::byte>(rng.NextU32() & 0x3BU);  // Neither NaN nor infinity.
  return bytes;
}

std::vector<float> Start(std::size_t length) {
  std::vector<float> out(length);
  RngStream(5).FillNormal(out);
  return out;
}

TEST_CASE("AddFloats: every instruction set gives the reference's bits") {
  ForTargetsAndLengths([](std::size_t length) {
    const Bytes bytes = RandomBytes(4 * length + 1);
    std::vector<float> out = Start(length);
    std::vector<float> expected = out;
    AddFloats(ByteSpan(bytes).subspan(1), 0.7F, out);
    AddFloatsReference(ByteSpan(bytes).subspan(1), 0.7F, expected);
    CHECK(out == expected);
  });
}

TEST_CASE("AddHalves: every instruction set gives the reference's bits") {
  ForTargetsAndLengths([](std::size_t length) {
    const Bytes bytes = RandomBytes(2 * length + 1);
    std::vector<float> out = Start(length);
    std::vector<float> expected = out;
    AddHalves(ByteSpan(bytes).subspan(1), 0.7F, out);
    AddHalvesReference(ByteSpan(bytes).subspan(1), 0.7F, expected);
    CHECK(out == expected);
  });
}

TEST_CASE("AddBfloat16s: every instruction set gives the reference's bits") {
  ForTargetsAndLengths([](std::size_t length) {
    const Bytes bytes = RandomBytes(2 * length + 1);
    std::vector<float> out = Start(length);
    std::vector<float> expected = out;
    AddBfloat16s(ByteSpan(bytes).subspan(1), 0.7F, out);
    AddBfloat16sReference(ByteSpan(bytes).subspan(1), 0.7F, expected);
    CHECK(out == expected);
  });
}

TEST_CASE("AddLevels: every instruction set gives the reference's bits") {
  ForTargetsAndLengths([](std::size_t length) {
    const LevelGrid grid{.step = 0.013F, .low = -0.1F, .zero = 127};
    const Bytes codes = RandomBytes(length + 1);
    std::vector<float> out = Start(length);
    std::vector<float> expected = out;
    AddLevels(ByteSpan(codes).subspan(1), grid, 0.7F, out);
    AddLevelsReference(ByteSpan(codes).subspan(1), grid, 0.7F, expected);
    CHECK(out == expected);
  });
}

TEST_CASE("AddLevelsOnGrids: every instruction set gives the reference's bits") {
  ForTargetsAndLengths([](std::size_t length) {
    const Bytes codes = RandomBytes(length);
    std::vector<float> steps(length);
    std::vector<float> lows(length);
    RngStream(8).FillNormal(steps);
    RngStream(9).FillNormal(lows);
    std::vector<float> out = Start(length);
    std::vector<float> expected = out;
    AddLevelsOnGrids(codes, steps, lows, 7, 0.7F, out);
    AddLevelsOnGridsReference(codes, steps, lows, 7, 0.7F, expected);
    CHECK(out == expected);
  });
}

TEST_CASE("UnpackNibbles: every instruction set gives the reference's bits") {
  ForTargetsAndLengths([](std::size_t length) {
    RngStream rng(3);
    Bytes packed((length + 1) / 2);
    for (std::byte& byte : packed) byte = static_cast<std::byte>(rng.NextU32());
    std::vector<std::uint8_t> out(length);
    std::vector<std::uint8_t> expected(length);
    UnpackNibbles(packed, out);
    UnpackNibblesReference(packed, expected);
    CHECK(out == expected);
  });
}

TEST_CASE("AddFactorRow: every instruction set gives the reference's bits") {
  ForTargetsAndLengths([](std::size_t length) {
    std::vector<float> left(3);
    std::vector<float> right(3 * (length + 2));
    RngStream(8).FillNormal(left);
    RngStream(9).FillNormal(right);
    std::vector<float> out = Start(length);
    std::vector<float> expected = out;
    AddFactorRow(left, std::span(right).subspan(1), length + 2, 0.7F, out);
    AddFactorRowReference(left, std::span(right).subspan(1), length + 2, 0.7F, expected);
    CHECK(out == expected);
  });
}

}  // namespace
}  // namespace fl::kernels
