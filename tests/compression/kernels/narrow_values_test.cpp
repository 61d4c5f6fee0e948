#include "fl/compression/kernels/narrow_values.h"

#include <bit>
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"
#include "fl/tests/support/simd_targets.h"

namespace fl::kernels {
namespace {

// Any finite floats, and between them the values around which halves change their kind or round.
std::vector<float> Values(std::size_t count) {
  RngStream rng(count);
  std::vector<float> values;
  for (const float edge : {0.0F, 0x1p-14F, 0x1p-24F, 0x1p-25F, 65504.0F, 65520.0F, 0x1.002p0F,
                           0x1.006p0F, 0x1.FFEp-15F, 0x1.01p0F, 0x1.03p0F, 0x1.FEp127F, 3.4e38F}) {
    for (const float value : {edge, std::nextafter(edge, 0.0F), std::nextafter(edge, 1e30F)}) {
      values.push_back(value);
      values.push_back(-value);
    }
  }
  while (values.size() < count) {
    const auto value = std::bit_cast<float>(rng.NextU32());
    if (!std::isnormal(value)) continue;
    values.push_back(value);
    values.push_back(std::ldexp(value, -std::ilogb(value) % 40 - 10));
  }
  values.resize(count);
  return values;
}

using Narrow = void (*)(std::span<const float>, std::span<std::byte>);

void CheckAgainst(Narrow narrow, Narrow reference) {
  testing::ForEachTarget([&] {
    for (std::size_t length = 0; length <= 200; ++length) {
      CAPTURE(length);
      const std::vector<float> values = Values(length);
      Bytes out(2 * length + 1);
      Bytes expected(2 * length + 1);
      narrow(values, std::span(out).subspan(1));
      reference(values, std::span(expected).subspan(1));
      CHECK(out == expected);
    }
  });
}

TEST_CASE("NarrowToHalves: every instruction set gives the reference's bits") {
  CheckAgainst(NarrowToHalves, NarrowToHalvesReference);
}

TEST_CASE("NarrowToBfloat16s: every instruction set gives the reference's bits") {
  CheckAgainst(NarrowToBfloat16s, NarrowToBfloat16sReference);
}

TEST_CASE("NarrowToHalves: what is too large becomes the largest half") {
  Bytes out(4);
  NarrowToHalves(std::vector<float>{1e30F, -1e30F}, out);
  CHECK(out == Bytes{std::byte{0xFF}, std::byte{0x7B}, std::byte{0xFF}, std::byte{0xFB}});
}

}  // namespace
}  // namespace fl::kernels
