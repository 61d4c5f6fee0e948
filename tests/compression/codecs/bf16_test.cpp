#include "fl/compression/codecs/bf16.h"

#include <cmath>
#include <limits>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;

TEST_CASE("Bf16: values are rounded to the nearest with ties to even") {
  const std::vector<float> values = {1, 0x1.01p0F, 0x1.03p0F, -0x1.0101p0F,
                                     std::numeric_limits<float>::max()};
  const auto encoded = EncodeValues(*MakeCodec("bf16", {5}), values, RngStream(1));
  CHECK(encoded.payload.size() == 10);
  CHECK(encoded.decoded[0] == 1);
  CHECK(encoded.decoded[1] == 1);
  CHECK(encoded.decoded[2] == 0x1.04p0F);
  CHECK(encoded.decoded[3] == -0x1.02p0F);
  CHECK(encoded.decoded[4] == 0x1.FEp127F);  // The largest, not infinity.
}

TEST_CASE("Bf16: what is not finite or beyond the limit is refused") {
  const auto codec = MakeCodec("bf16", {1});
  const auto code_of = [&](int low, int high) {
    const Bytes payload = {static_cast<std::byte>(low), static_cast<std::byte>(high)};
    return testing::CodeOf(codec->Parse(payload, {}, {}));
  };
  CHECK(code_of(0x80, 0x3F) == ErrorCode::kOk);
  CHECK(code_of(0x80, 0x7F) == ErrorCode::kNotFinite);
  CHECK(code_of(0xC0, 0xFF) == ErrorCode::kNotFinite);
  CHECK(code_of(0x00, 0x7F) == ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace fl
