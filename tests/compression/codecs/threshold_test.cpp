#include "fl/compression/codecs/threshold.h"

#include <cmath>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;

TEST_CASE("Threshold: what is above the multiple of the root mean square is kept and no more") {
  const std::vector<float> values = testing::NormalValues(5000, RngStream(1));
  double squares = 0;
  for (const float value : values) squares += std::pow(static_cast<double>(value), 2.0);
  const double threshold = 1.5 * std::sqrt(squares / 5000);
  const auto decoded =
      EncodeValues(*MakeCodec("threshold 1.5", {5000}), values, RngStream(2)).decoded;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool kept = std::fabs(static_cast<double>(values[i])) > threshold;
    CHECK(decoded[i] == (kept ? values[i] : 0.0F));
  }
}

TEST_CASE("Threshold: equal values are all kept below one and none from one on") {
  const std::vector<float> values(300, -2.0F);
  CHECK(EncodeValues(*MakeCodec("threshold 0.99", {300}), values, RngStream(1)).decoded == values);
  CHECK(EncodeValues(*MakeCodec("threshold 1.01", {300}), values, RngStream(1)).decoded ==
        std::vector<float>(300));
}

// The most that can be above: 99 of 400 values at a little more than twice the root mean square.
TEST_CASE("Threshold: the largest payload is within the bound") {
  std::vector<float> values(400);
  for (std::size_t i = 0; i < 99; ++i) values[4 * i] = 1;
  for (const char* recipe : {"threshold 2", "threshold 2 | quantize 8", "threshold 2 | ternary"}) {
    CAPTURE(recipe);
    const auto codec = MakeCodec(recipe, {400});
    const auto encoded = EncodeValues(*codec, values, RngStream(1));
    CHECK(encoded.payload.size() <= codec->EncodedBytesMax());
    CHECK(encoded.decoded[396 - 4] != 0);
  }
}

TEST_CASE("Threshold: payloads are those of top_k") {
  std::vector<float> values(100);
  values[3] = 5;
  values[50] = -4;
  CHECK(EncodeValues(*MakeCodec("threshold 5", {100}), values, RngStream(1)).payload ==
        EncodeValues(*MakeCodec("top_k 4%", {100}), values, RngStream(1)).payload);
}

}  // namespace
}  // namespace fl
