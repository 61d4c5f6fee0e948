#include "fl/compression/codecs/quantize.h"

#include <algorithm>
#include <cmath>

#include "fl/common/tensor/half.h"
#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;

// The range of the values over the steps that `bits` give, from the largest magnitude.
double SymmetricStep(std::span<const float> values, unsigned bits) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  return static_cast<double>(largest) / ((1 << (bits - 1)) - 1);
}

double MeanSquare(std::span<const float> values, std::span<const float> decoded) {
  double error = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    error += std::pow(static_cast<double>(values[i]) - static_cast<double>(decoded[i]), 2.0);
  }
  return error / static_cast<double>(values.size());
}

// The error of rounding to the nearest of levels `step` apart is step^2 / 12 where the density is
// flat over a step, of stochastic rounding step^2 / 6. Uniform values make it flat. bf16 makes the
// step up to 1/128 larger, its square up to 1.6 %; the estimate from 10^5 values has a standard
// error of 0.3 %: the accepted interval is -1 % to +3 %.
TEST_CASE(
    "Quantize: the error is a twelfth of the squared step, or a sixth with stochastic rounding") {
  std::vector<float> values(100000);
  RngStream(1).FillUniform(values);
  for (float& value : values) value = 2 * value - 1;
  for (const unsigned bits : {4U, 6U, 8U}) {
    CAPTURE(bits);
    const double square = std::pow(SymmetricStep(values, bits), 2.0);
    const std::string recipe = "quantize " + std::to_string(bits);
    const auto nearest = EncodeValues(*MakeCodec(recipe, {values.size()}), values, RngStream(2));
    CHECK(MeanSquare(values, nearest.decoded) / (square / 12) ==
          doctest::Approx(1.01).epsilon(0.02));
    const auto random =
        EncodeValues(*MakeCodec(recipe + " stochastic", {values.size()}), values, RngStream(2));
    CHECK(MeanSquare(values, random.decoded) / (square / 6) == doctest::Approx(1.01).epsilon(0.02));
  }
}

// A sign times the mean magnitude keeps (mean |x|)^2 / mean x^2 of the energy: 2 / pi of a normal
// distribution. Standard error over 10^5 values about 0.3 %; bf16 rounds the scale down by up to
// 0.8 %, which costs its square.
TEST_CASE("Quantize: one bit keeps two over pi of the energy of normal values") {
  const std::vector<float> values = testing::NormalValues(100000, RngStream(1));
  const auto encoded =
      EncodeValues(*MakeCodec("quantize 1", {values.size()}), values, RngStream(2));
  CHECK(1 - testing::RelativeError(values, encoded.decoded) ==
        doctest::Approx(2 / 3.14159265).epsilon(0.01));
}

TEST_CASE("Quantize: bytes are the grids and the packed levels") {
  CHECK(MakeCodec("quantize 8", {100})->EncodedBytesMax() == 102);
  CHECK(MakeCodec("quantize 4", {101})->EncodedBytesMax() == 2 + 51);
  CHECK(MakeCodec("quantize 3 asymmetric", {9})->EncodedBytesMax() == 4 + 4);
  CHECK(MakeCodec("quantize 1 per=channel", {8, 3})->EncodedBytesMax() == 6 + 3);
}

TEST_CASE("Quantize: channels are the last axis and each has a grid of its own") {
  const std::vector<float> values = {1000, 1, -1000, -0.5F, 500, 0.25F};
  const auto encoded =
      EncodeValues(*MakeCodec("quantize 8 per=channel", {3, 2}), values, RngStream(1));
  CHECK(encoded.decoded[0] == doctest::Approx(1000).epsilon(0.01));
  CHECK(encoded.decoded[3] == doctest::Approx(-0.5).epsilon(0.02));
  CHECK(encoded.decoded[5] == doctest::Approx(0.25).epsilon(0.03));
}

TEST_CASE("Quantize: an asymmetric grid spends no level beyond the values") {
  std::vector<float> values(1000);
  RngStream(1).FillUniform(values);
  for (float& value : values) value += 7;
  const auto encoded =
      EncodeValues(*MakeCodec("quantize 4 asymmetric", {1000}), values, RngStream(1));
  for (std::size_t i = 0; i < values.size(); ++i)
    CHECK(std::fabs(encoded.decoded[i] - values[i]) < 0.04F);
}

TEST_CASE("Quantize: zero stays zero with at least two symmetric bits") {
  const std::vector<float> values = {0, -3, 5, 0};
  const auto encoded = EncodeValues(*MakeCodec("quantize 2", {4}), values, RngStream(1));
  CHECK(encoded.decoded[0] == 0);
  CHECK(encoded.decoded[3] == 0);
}

TEST_CASE("Quantize: unused codes, padding, signs and steps of zero with levels are refused") {
  const RoundParameters none;
  const auto codec = MakeCodec("quantize 4", {3});
  const auto code_of = [&](const std::vector<int>& payload) {
    Bytes bytes;
    for (const int byte : payload) bytes.push_back(static_cast<std::byte>(byte));
    return testing::CodeOf(codec->Parse(bytes, none, {}));
  };
  CHECK(code_of({0x80, 0x3F, 0x70, 0x0E}) == ErrorCode::kOk);
  CHECK(code_of({0x80, 0x3F, 0xF0, 0x0E}) == ErrorCode::kMalformed);  // Code 15.
  CHECK(code_of({0x80, 0x3F, 0x70, 0x1E}) == ErrorCode::kMalformed);  // Padding.
  CHECK(code_of({0x80, 0xBF, 0x70, 0x0E}) == ErrorCode::kMalformed);  // Step -1.
  CHECK(code_of({0x80, 0x7F, 0x70, 0x0E}) == ErrorCode::kNotFinite);  // Infinity.
  CHECK(code_of({0xC0, 0x7F, 0x70, 0x0E}) == ErrorCode::kNotFinite);  // NaN.
  CHECK(code_of({0x00, 0x7F, 0x70, 0x0E}) == ErrorCode::kLimitExceeded);
  CHECK(code_of({0x00, 0x00, 0x77, 0x07}) == ErrorCode::kOk);         // All zero.
  CHECK(code_of({0x00, 0x00, 0x77, 0x06}) == ErrorCode::kMalformed);  // A level without a step.
}

TEST_CASE("Quantize: negative zeros are zeros") {
  const std::vector<float> values(9, -0.0F);
  for (const char* recipe : {"quantize 3 asymmetric", "quantize 4", "quantize 1"}) {
    CAPTURE(recipe);
    const auto codec = MakeCodec(recipe, {9});
    const auto encoded = EncodeValues(*codec, values, RngStream(1));
    CHECK(testing::CodeOf(codec->Parse(encoded.payload, {}, {})) == ErrorCode::kOk);
    CHECK(encoded.decoded == std::vector<float>(9));
  }
}

TEST_CASE("Quantize: bf16 is rounded outwards") {
  for (const float value : {1.0F, 1.001F, 3.14159F, 1e-40F, 1e30F}) {
    CAPTURE(value);
    CHECK(Bfloat16ToFloat(internal::Bfloat16Above(value)) >= value);
    CHECK(Bfloat16ToFloat(internal::Bfloat16Below(value)) <= value);
    CHECK(Bfloat16ToFloat(internal::Bfloat16Above(-value)) >= -value);
    CHECK(Bfloat16ToFloat(internal::Bfloat16Below(-value)) <= -value);
  }
  CHECK(Bfloat16ToFloat(internal::Bfloat16Above(1.0F)) == 1.0F);
  CHECK(Bfloat16ToFloat(internal::Bfloat16Above(-0.0F)) == 0.0F);
  CHECK(std::isfinite(Bfloat16ToFloat(internal::Bfloat16Above(3.4e38F))));
}

}  // namespace
}  // namespace fl
