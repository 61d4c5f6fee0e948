#include "fl/compression/codecs/lloyd.h"

#include <array>
#include <cmath>

#include "fl/compression/codecs/normal_levels.h"
#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;

constexpr std::array<double, 8> kErrors = {0.363380, 0.117482, 0.034548, 0.009501,
                                           0.002505, 0.000644, 0.000163, 0.0000412};

TEST_CASE("NormalLevels: levels ascend and mirror each other") {
  for (unsigned bits = 1; bits <= 8; ++bits) {
    CAPTURE(bits);
    const auto levels = NormalLevels(bits);
    const auto thresholds = NormalThresholds(bits);
    REQUIRE(levels.size() == std::size_t{1} << bits);
    REQUIRE(thresholds.size() == levels.size() - 1);
    for (std::size_t i = 0; i + 1 < levels.size(); ++i) {
      CHECK(levels[i] < thresholds[i]);
      CHECK(thresholds[i] < levels[i + 1]);
      CHECK(levels[i] == -levels[levels.size() - 1 - i]);
    }
    CHECK(thresholds[thresholds.size() / 2] == 0);
  }
}

// Each level is the mean of the density between its thresholds: the difference of the density there
// over that of the distribution.
TEST_CASE("NormalLevels: each is the centre of its cell") {
  const auto density = [](double x) {
    return std::exp(-x * x / 2) / std::sqrt(2 * 3.14159265358979);
  };
  const auto above = [](double x) { return std::erfc(x / std::sqrt(2.0)) / 2; };
  for (unsigned bits = 1; bits <= 8; ++bits) {
    CAPTURE(bits);
    const auto levels = NormalLevels(bits);
    const auto thresholds = NormalThresholds(bits);
    for (std::size_t i = levels.size() / 2; i < levels.size(); ++i) {
      const auto low = static_cast<double>(thresholds[i - 1]);
      const bool last = i + 1 == levels.size();
      const double high = last ? 40 : static_cast<double>(thresholds[i]);
      const double centre = (density(low) - density(high)) / (above(low) - above(high));
      CHECK(static_cast<double>(levels[i]) == doctest::Approx(centre).epsilon(2e-5));
    }
  }
}

// The relative error over 2^18 values has a standard error of at most 0.4 % of itself at up to 6
// bits and 0.6 % at 8, where few values in the tails count; bf16 of the scale adds up to its
// relative error's square, 4e-6.
TEST_CASE("Lloyd: the error of normal values is that of theory") {
  const std::vector<float> values = testing::NormalValues(1 << 18, RngStream(1));
  for (unsigned bits = 1; bits <= 8; ++bits) {
    CAPTURE(bits);
    const auto encoded = EncodeValues(*MakeCodec("lloyd " + std::to_string(bits), {values.size()}),
                                      values, RngStream(2));
    CHECK(std::fabs(testing::RelativeError(values, encoded.decoded) - kErrors[bits - 1]) <=
          0.015 * kErrors[bits - 1] + 4e-6);
  }
}

TEST_CASE("Lloyd: the error never exceeds the energy") {
  std::vector<float> spike(1000);
  spike[77] = 5;
  std::vector<float> two_scales = testing::NormalValues(1000, RngStream(1));
  for (std::size_t i = 0; i < 1000; ++i) two_scales[i] *= i < 3 ? 1e5F : 1e-5F;
  for (const auto& values : {spike, two_scales, std::vector<float>(1000, 2.0F)}) {
    const auto encoded = EncodeValues(*MakeCodec("lloyd 1", {1000}), values, RngStream(2));
    CHECK(testing::RelativeError(values, encoded.decoded) <= 1.0);
  }
}

TEST_CASE("Lloyd: bytes are the scale and the codes") {
  CHECK(MakeCodec("lloyd 1", {9})->EncodedBytesMax() == 2 + 2);
  CHECK(MakeCodec("lloyd 5", {8})->EncodedBytesMax() == 2 + 5);
}

TEST_CASE("Lloyd: bad scales and padding and codes without a scale are refused") {
  const auto codec = MakeCodec("lloyd 2", {3});
  const auto code_of = [&](const std::vector<int>& payload) {
    Bytes bytes;
    for (const int byte : payload) bytes.push_back(static_cast<std::byte>(byte));
    return testing::CodeOf(codec->Parse(bytes, {}, {}));
  };
  CHECK(code_of({0x80, 0x3F, 0x1B}) == ErrorCode::kOk);
  CHECK(code_of({0x80, 0x3F, 0x5B}) == ErrorCode::kMalformed);  // Padding.
  CHECK(code_of({0x80, 0xBF, 0x1B}) == ErrorCode::kMalformed);  // Scale -1.
  CHECK(code_of({0x00, 0x80, 0x00}) == ErrorCode::kMalformed);  // Scale -0.
  CHECK(code_of({0x80, 0x7F, 0x1B}) == ErrorCode::kNotFinite);
  CHECK(code_of({0xC0, 0x7F, 0x1B}) == ErrorCode::kNotFinite);
  CHECK(code_of({0x00, 0x7F, 0x1B}) == ErrorCode::kLimitExceeded);
  CHECK(code_of({0x00, 0x00, 0x00}) == ErrorCode::kOk);
  CHECK(code_of({0x00, 0x00, 0x01}) == ErrorCode::kMalformed);  // A code without a scale.
}

}  // namespace
}  // namespace fl
