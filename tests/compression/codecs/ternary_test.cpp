#include "fl/compression/codecs/ternary.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;

TEST_CASE("Ternary: kept values become the mean magnitude of those that are kept") {
  const auto codec = MakeCodec("top_k 30% | ternary", {10});
  const std::vector<float> values = {0.1F, -3, 0, 0.2F, 1, -0.5F, 2, 0.3F, -0.2F, 0};
  CHECK(EncodeValues(*codec, values, RngStream(1)).decoded ==
        std::vector<float>{0, -2, 0, 0, 2, 0, 2, 0, 0, 0});
}

TEST_CASE("Ternary: the error on normal values is the published one") {
  const auto values = testing::NormalValues(1 << 18, RngStream(2));
  for (const auto& [recipe, error] :
       {std::pair("top_k 1% | ternary", 0.9164), std::pair("top_k 10% | ternary", 0.5745)}) {
    const auto encoded = EncodeValues(*MakeCodec(recipe, {512, 512}), values, RngStream(3));
    CHECK(testing::RelativeError(values, encoded.decoded) == doctest::Approx(error).epsilon(0.005));
  }
}

TEST_CASE("Ternary: the codes take what theory says") {
  constexpr std::size_t kSide = 512;
  const auto values = testing::NormalValues(kSide * kSide, RngStream(4));
  for (const double share : {0.01, 0.1, 0.4}) {
    CAPTURE(share);
    const auto bytes = [&](const std::string& code) {
      const auto codec =
          MakeCodec("top_k " + std::to_string(100 * share) + "% | ternary" + code, {kSide, kSide});
      return static_cast<double>(EncodeValues(*codec, values, RngStream(5)).payload.size());
    };
    const double entropy = -share * std::log2(share) - (1 - share) * std::log2(1 - share) + share;
    const double ideal = entropy * kSide * kSide / 8;
    CHECK(bytes(" | context") < ideal * (share == 0.01 ? 1.025 : 1.015) + 4);
    CHECK(bytes(" | rice") < ideal * (share == 0.4 ? 1.25 : 1.04) + 20);
    CHECK(bytes(" | pack") <= kSide * kSide / 5.0 + 4);
    CHECK(bytes("") <= bytes(" | context") + 1);
    CHECK(bytes("") <= bytes(" | rice") + 1);
  }
}

TEST_CASE("Ternary: fewer values than would be kept leave zeros out") {
  const auto codec = MakeCodec("top_k 50% | ternary | rice", {8});
  const std::vector<float> values = {0, 0, 4, 0, 0, 0, -4, 0};
  CHECK(EncodeValues(*codec, values, RngStream(1)).decoded == values);
}

}  // namespace
}  // namespace fl
