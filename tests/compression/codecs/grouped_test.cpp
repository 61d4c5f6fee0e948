#include "fl/compression/codecs/grouped.h"

#include <cmath>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;

TEST_CASE("Grouped: an outlier spoils its own group only") {
  std::vector<float> values(64, 1.0F);
  values[20] = 1000;
  const auto encoded =
      EncodeValues(*MakeCodec("quantize 4 per=group:16", {64}), values, RngStream(1));
  CHECK(encoded.decoded[15] == doctest::Approx(1).epsilon(0.01));
  CHECK(encoded.decoded[16] == 0);
  CHECK(encoded.decoded[20] == doctest::Approx(1000).epsilon(0.01));
  CHECK(encoded.decoded[32] == doctest::Approx(1).epsilon(0.01));
}

TEST_CASE("Grouped: each group is what the coder writes of its values") {
  const std::vector<float> values = testing::NormalValues(40, RngStream(1));
  const auto grouped =
      EncodeValues(*MakeCodec("quantize 4 per=group:16", {40}), values, RngStream(1));
  Bytes expected;
  for (std::size_t first = 0; first < 40; first += 16) {
    const auto part = std::span(values).subspan(first, std::min<std::size_t>(16, 40 - first));
    const Bytes bytes =
        EncodeValues(*MakeCodec("quantize 4", {part.size()}), part, RngStream(1)).payload;
    expected.insert(expected.end(), bytes.begin(), bytes.end());
  }
  CHECK(grouped.payload == expected);
}

TEST_CASE("Grouped: bytes are those of whole groups and of the rest") {
  CHECK(MakeCodec("quantize 4 per=group:16", {32})->EncodedBytesMax() == 2 * 10);
  CHECK(MakeCodec("quantize 4 per=group:16", {33})->EncodedBytesMax() == 2 * 10 + 3);
  CHECK(MakeCodec("quantize 8 asymmetric per=group:10", {5})->EncodedBytesMax() == 9);
}

TEST_CASE("Grouped: an error names its group") {
  const auto codec = MakeCodec("quantize 4 per=group:8", {16});
  auto payload =
      EncodeValues(*codec, testing::NormalValues(16, RngStream(1)), RngStream(1)).payload;
  payload[6] = std::byte{0x80};
  payload[7] = std::byte{0x7F};  // The second group's step: infinity.
  const auto parsed = codec->Parse(payload, {}, {});
  CHECK(testing::CodeOf(parsed) == ErrorCode::kNotFinite);
  CHECK(parsed.error().message.starts_with("group 1"));
}

}  // namespace
}  // namespace fl
