#include "fl/compression/codecs/natural.h"

#include <bit>
#include <cmath>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;

TEST_CASE("Natural: values become a power of two next to them and powers stay") {
  const std::vector<float> values = {0, 1, -2, 0.75F, -3, 1e-39F, -0.0F, 1.5e38F};
  const auto codec = MakeCodec("natural", {values.size()});
  for (std::uint64_t stream = 0; stream < 50; ++stream) {
    const auto decoded = EncodeValues(*codec, values, RngStream(stream)).decoded;
    CHECK(decoded[0] == 0);
    CHECK(decoded[1] == 1);
    CHECK(decoded[2] == -2);
    CHECK((decoded[3] == 0.5F || decoded[3] == 1.0F));
    CHECK((decoded[4] == -2 || decoded[4] == -4));
    CHECK((decoded[5] == 0 || decoded[5] == 0x1p-126F));
    CHECK(decoded[6] == 0);
    CHECK((decoded[7] == 0x1p126F || decoded[7] == 0x1p127F));
  }
}

// Of a value between powers low and high the variance is (value - low) (high - value): the mean
// over the streams lies within 5 standard errors.
TEST_CASE("Natural: the expected value is the value") {
  std::vector<float> values = testing::NormalValues(128, RngStream(3));
  values[0] = 0x1.8p-127F;
  const auto codec = MakeCodec("natural", {values.size()});
  constexpr int kStreams = 2000;
  std::vector<double> sum(values.size());
  for (std::uint64_t stream = 0; stream < kStreams; ++stream) {
    const auto decoded = EncodeValues(*codec, values, RngStream(5).Child("draw", stream)).decoded;
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<double>(decoded[i]);
  }
  for (std::size_t i = 0; i < sum.size(); ++i) {
    const auto value = static_cast<double>(values[i]);
    const double power = std::exp2(std::floor(std::log2(std::fabs(value))));
    const double low = std::fabs(value) < 0x1p-126 ? 0 : power;
    const double high = std::fabs(value) < 0x1p-126 ? 0x1p-126 : 2 * power;
    const double variance = (std::fabs(value) - low) * (high - std::fabs(value));
    CHECK(std::fabs(sum[i] / kStreams - value) <= 5 * std::sqrt(variance / kStreams) + 1e-45);
  }
}

TEST_CASE("Natural: the squared error is at most an eighth of the energy in expectation") {
  const std::vector<float> values = testing::NormalValues(100000, RngStream(1));
  const auto encoded = EncodeValues(*MakeCodec("natural", {values.size()}), values, RngStream(2));
  CHECK(testing::RelativeError(values, encoded.decoded) < 0.125);
  CHECK(encoded.payload.size() == 100000 + 12500);
}

TEST_CASE("Natural: exponents of infinity and signs of zeros and padding are refused") {
  const auto codec = MakeCodec("natural", {2});
  const auto code_of = [&](int first, int second, int signs) {
    const Bytes payload = {static_cast<std::byte>(first), static_cast<std::byte>(second),
                           static_cast<std::byte>(signs)};
    return testing::CodeOf(codec->Parse(payload, {}, {}));
  };
  CHECK(code_of(127, 0, 1) == ErrorCode::kOk);
  CHECK(code_of(255, 0, 0) == ErrorCode::kNotFinite);
  CHECK(code_of(254, 0, 0) == ErrorCode::kLimitExceeded);
  CHECK(code_of(127, 0, 2) == ErrorCode::kMalformed);
  CHECK(code_of(127, 127, 4) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl
