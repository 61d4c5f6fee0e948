#include "fl/common/tensor/half.h"

#include <bit>
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

namespace fl::testing {

TEST_CASE("Half: every number of 16 bits comes back from fp32") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float wide = HalfToFloat(half);
    if (std::isnan(wide)) {
      CHECK(std::isnan(HalfToFloat(FloatToHalf(wide))));
    } else if (FloatToHalf(wide) != half) {
      FAIL("half ", bits, " became ", FloatToHalf(wide));
    }
  }
}

TEST_CASE("Half: known numbers have their known bits") {
  CHECK(FloatToHalf(1.0F) == 0x3C00);
  CHECK(FloatToHalf(-2.0F) == 0xC000);
  CHECK(FloatToHalf(65504.0F) == 0x7BFF);
  CHECK(FloatToHalf(0x1.0p-24F) == 0x0001);
  CHECK(FloatToHalf(0x1.0p-14F) == 0x0400);
  CHECK(FloatToHalf(-0.0F) == 0x8000);
  CHECK(HalfToFloat(0x3555) == doctest::Approx(0.33325195));
  CHECK(HalfToFloat(0x0001) == 0x1.0p-24F);
}

TEST_CASE("Half: rounding is to nearest and ties go to even") {
  CHECK(FloatToHalf(1.0F + 0x1.0p-11F) == 0x3C00);
  CHECK(FloatToHalf(1.0F + 0x1.8p-10F) == 0x3C02);
  CHECK(FloatToHalf(1.0F + 0x1.002p-11F) == 0x3C01);
  CHECK(FloatToHalf(0x1.0p-25F) == 0x0000);
  CHECK(FloatToHalf(0x1.002p-25F) == 0x0001);
  CHECK(FloatToHalf(0x1.8p-24F) == 0x0002);
  CHECK(FloatToHalf(0x1.FFFp-15F) == 0x0400);
}

TEST_CASE("Half: what is too large becomes infinity") {
  CHECK(FloatToHalf(65519.996F) == 0x7BFF);
  CHECK(FloatToHalf(65520.0F) == 0x7C00);
  CHECK(FloatToHalf(-1e30F) == 0xFC00);
  CHECK(FloatToHalf(std::numeric_limits<float>::infinity()) == 0x7C00);
  CHECK(std::isinf(HalfToFloat(0xFC00)));
}

TEST_CASE("Half: NaN stays NaN even where its payload lies below") {
  CHECK(std::isnan(HalfToFloat(FloatToHalf(std::bit_cast<float>(0x7F800001U)))));
  CHECK(std::isnan(Bfloat16ToFloat(FloatToBfloat16(std::bit_cast<float>(0x7F800001U)))));
}

TEST_CASE("Bfloat16: rounding is to nearest and ties go to even") {
  CHECK(FloatToBfloat16(1.0F) == 0x3F80);
  CHECK(FloatToBfloat16(1.0F + 0x1.0p-8F) == 0x3F80);
  CHECK(FloatToBfloat16(1.0F + 0x1.8p-7F) == 0x3F82);
  CHECK(FloatToBfloat16(std::numeric_limits<float>::max()) == 0x7F80);
  CHECK(Bfloat16ToFloat(0xC040) == -3.0F);
}

}  // namespace fl::testing
