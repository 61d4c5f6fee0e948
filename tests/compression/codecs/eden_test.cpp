#include "fl/compression/codecs/eden.h"

#include <cmath>
#include <string>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;

double ErrorOf(std::string_view recipe, const std::vector<float>& values) {
  const auto codec = MakeCodec(recipe, {values.size()});
  return testing::RelativeError(values, EncodeValues(*codec, values, RngStream(2)).decoded);
}

// D / (1 - D) of the levels' error D. Over 2^19 rotated values the estimate has a standard error
// below 0.2 %; the seeds are fixed.
TEST_CASE("Eden: the error is that of theory") {
  const std::vector<float> values = testing::NormalValues(1 << 19, RngStream(1));
  CHECK(ErrorOf("eden 1", values) == doctest::Approx(0.5708).epsilon(0.005));
  CHECK(ErrorOf("eden 2", values) == doctest::Approx(0.1331).epsilon(0.005));
  CHECK(ErrorOf("eden 4", values) == doctest::Approx(0.009592).epsilon(0.005));
  CHECK(ErrorOf("eden 1 scale=nearest", values) == doctest::Approx(0.3634).epsilon(0.005));
}

// Half of the places at one bit: 1 / (0.5 * 0.6366) - 1. Half at one and half at two:
// 1 / (0.5 * 0.6366 + 0.5 * 0.8825) - 1.
TEST_CASE("Eden: fractions of bits mix places of two widths") {
  const std::vector<float> values = testing::NormalValues(1 << 19, RngStream(1));
  CHECK(ErrorOf("eden 0.5", values) == doctest::Approx(2.1416).epsilon(0.01));
  CHECK(ErrorOf("eden 1.5", values) == doctest::Approx(0.3166).epsilon(0.01));
}

// Heavy tails and scales that differ by a thousand between blocks make no difference.
TEST_CASE("Eden: the error is the same whatever the values are") {
  std::vector<float> values = testing::NormalValues(1 << 18, RngStream(1));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] *= values[i] * values[i];
    if ((i / 4096) % 2 == 0) values[i] *= 1000;
  }
  CHECK(ErrorOf("eden 1", values) == doctest::Approx(0.5708).epsilon(0.02));
  CHECK(ErrorOf("eden 4", values) == doctest::Approx(0.009592).epsilon(0.02));
}

TEST_CASE("Eden: the error with the nearest scale never exceeds the energy") {
  std::vector<float> spike(1000);
  spike[77] = 5;
  std::vector<float> two(1000);
  two[3] = two[900] = -1;
  for (const auto& values : {spike, two, std::vector<float>(1000, 2.0F)}) {
    CHECK(ErrorOf("eden 0.1 scale=nearest", values) <= 1.001);
    CHECK(ErrorOf("eden 1 scale=nearest", values) <= 1.001);
  }
}

// No shape pads the rotation: at most a hundredth of a bit a value more than was asked for.
TEST_CASE("Eden: bytes are the bits and little more for any shape of 64 Ki values") {
  for (const std::size_t count : {65536UL, 65537UL, 70000UL, 78400UL, 200000UL, 262143UL}) {
    for (const double bits : {0.1, 0.5, 1.0, 1.7, 2.0, 4.0}) {
      CAPTURE(count);
      CAPTURE(bits);
      const auto codec = MakeCodec("eden " + std::to_string(bits), {count});
      const auto sent = static_cast<double>(8 * codec->EncodedBytesMax());
      CHECK(sent / static_cast<double>(count) <= bits + 0.01);
      CHECK(sent / static_cast<double>(count) >= bits);
    }
  }
  CHECK(MakeCodec("eden 1", {4096})->EncodedBytesMax() == 4 + 2 + 512);
}

// For each coordinate the mean over m streams lies within 5 standard errors of the value, and the
// squared norm of the mean's error is that of the variance over m: with 1024 coordinates its
// relative standard deviation is at most 5 %.
TEST_CASE("Eden: the expected value is the value") {
  const std::size_t count = 1100;  // A tail that takes two maps.
  std::vector<float> values = testing::NormalValues(count, RngStream(5));
  for (const char* recipe : {"eden 1 block=1024", "eden 2.5 block=1024", "eden 0.5 block=1024"}) {
    CAPTURE(recipe);
    const auto codec = MakeCodec(recipe, {count});
    constexpr int kStreams = 1000;
    std::vector<double> sum(count);
    std::vector<double> squares(count);
    for (std::uint64_t stream = 0; stream < kStreams; ++stream) {
      const auto encoded = EncodeValues(*codec, values, RngStream(77).Child("draw", stream));
      for (std::size_t i = 0; i < count; ++i) {
        const auto value = static_cast<double>(encoded.decoded[i]);
        sum[i] += value;
        squares[i] += value * value;
      }
    }
    double error = 0;
    double expected = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double mean = sum[i] / kStreams;
      const double variance = (squares[i] / kStreams - mean * mean) / kStreams;
      CHECK(std::fabs(mean - static_cast<double>(values[i])) <= 5 * std::sqrt(variance) + 1e-5);
      error += std::pow(mean - static_cast<double>(values[i]), 2.0);
      expected += variance;
    }
    CHECK(error / expected == doctest::Approx(1).epsilon(0.25));
  }
}

TEST_CASE("Eden: a block of coordinates decodes without the others") {
  const std::vector<float> values = testing::NormalValues(10000, RngStream(1));
  const auto codec = MakeCodec("eden 2", {10000});
  auto encoded = EncodeValues(*codec, values, RngStream(2));
  // Another second unit changes nothing of the first and the third.
  encoded.payload[4 + 1026 + 500] ^= std::byte{0xFF};
  const auto decoded = testing::DecodeAll(*codec, encoded);
  CHECK(std::equal(decoded.begin(), decoded.begin() + 4096, encoded.decoded.begin()));
  CHECK(std::equal(decoded.begin() + 8192, decoded.end(), encoded.decoded.begin() + 8192));
  CHECK_FALSE(decoded == encoded.decoded);
}

// A rotation rounds the least fp32 off to nothing, and a tenth of the places may miss a spike: the
// scale stays within reason.
TEST_CASE("Eden: values that hardly any place shows do not blow up the scale") {
  for (const float value : {0x1p-149F, 0x1.8p-148F, 1e6F}) {
    std::vector<float> values(170);
    values[0] = value;
    for (const char* recipe : {"eden 0.1 block=64", "eden 0.3 block=64", "eden 1 block=64"}) {
      CAPTURE(recipe);
      const auto codec = MakeCodec(recipe, {170});
      for (std::uint64_t stream = 0; stream < 30; ++stream) {
        const auto encoded = EncodeValues(*codec, values, RngStream(stream));
        CHECK(testing::CodeOf(codec->Parse(encoded.payload, {}, {})) == ErrorCode::kOk);
      }
    }
  }
}

TEST_CASE("Eden: bad scales and padding and codes without a scale are refused") {
  const auto codec = MakeCodec("eden 2", {3});
  const auto code_of = [&](const std::vector<int>& unit) {
    Bytes bytes(4);
    for (const int byte : unit) bytes.push_back(static_cast<std::byte>(byte));
    return testing::CodeOf(codec->Parse(bytes, {}, {}));
  };
  CHECK(code_of({0x80, 0x3F, 0x1B}) == ErrorCode::kOk);
  CHECK(code_of({0x80, 0x3F, 0x5B}) == ErrorCode::kMalformed);  // Padding.
  CHECK(code_of({0x80, 0xBF, 0x1B}) == ErrorCode::kMalformed);  // Scale -1.
  CHECK(code_of({0x80, 0x7F, 0x1B}) == ErrorCode::kNotFinite);
  CHECK(code_of({0x00, 0x7F, 0x1B}) == ErrorCode::kLimitExceeded);
  CHECK(code_of({0x00, 0x00, 0x00}) == ErrorCode::kOk);
  CHECK(code_of({0x00, 0x00, 0x01}) == ErrorCode::kMalformed);  // A code without a scale.
  CHECK(code_of({0x80, 0x3F}) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl
