#include "fl/compression/codecs/factor_levels.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"
#include "fl/tests/support/result.h"

namespace fl::internal {
namespace {

using testing::CodeOf;

// Levels of normal numbers on a grid of `step` standard deviations.
FactorLevels NormalLevels(std::size_t rows, std::size_t columns, std::size_t rank, float step,
                          std::uint64_t seed) {
  FactorLevels levels(rows, columns, rank);
  RngStream rng(seed);
  for (std::vector<std::int8_t>* side : {&levels.left, &levels.right}) {
    for (std::int8_t& level : *side) {
      level =
          static_cast<std::int8_t>(std::clamp(std::nearbyint(rng.Normal() / step), -40.0F, 40.0F));
    }
  }
  for (std::size_t k = 0; k < rank; ++k) levels.scales[k] = static_cast<std::uint8_t>(150 + k);
  return levels;
}

Bytes Encode(FactorLevels levels) {
  ByteWriter out;
  EncodeFactors(levels, out);
  return std::move(out).Take();
}

TEST_CASE("FactorLevels: what was coded comes back") {
  for (const float step : {0.05F, 0.5F, 2.0F, 3.5F}) {
    CAPTURE(step);
    const FactorLevels levels = NormalLevels(90, 70, 3, step, 1);
    FactorLevels decoded(90, 70, 3);
    REQUIRE(DecodeFactors(Encode(levels), decoded));
    CHECK(decoded.scales == levels.scales);
    CHECK(decoded.left == levels.left);
    CHECK(decoded.right == levels.right);
  }
}

// 1.30 bits is the entropy of a normal number's level at two standard deviations and its sign.
TEST_CASE("FactorLevels: normal levels take their entropy and at most three percent more") {
  const FactorLevels levels = NormalLevels(784, 200, 6, 2.0F, 2);
  double bits = 0;
  for (const auto* side : {&levels.left, &levels.right}) {
    std::array<double, 81> counts{};
    for (const std::int8_t level : *side) counts.at(static_cast<std::size_t>(level + 40)) += 1;
    for (const double count : counts) {
      if (count > 0) bits -= count * std::log2(count / static_cast<double>(side->size()));
    }
  }
  CHECK(static_cast<double>(Encode(levels).size()) <= 1.03 * bits / 8 + 6);
}

TEST_CASE("FactorLevels: directions without levels on one side are not sent") {
  FactorLevels levels(30, 20, 4);
  levels.scales = {200, 201, 202, 203};
  std::ranges::fill(levels.left, std::int8_t{1});
  const Bytes bytes = Encode(levels);
  CHECK(bytes.empty());  // Zeros at the end of a range code are not written.
  FactorLevels decoded(30, 20, 4);
  REQUIRE(DecodeFactors(bytes, decoded));
  CHECK(std::ranges::all_of(decoded.scales, [](std::uint8_t scale) { return scale == 0; }));
  CHECK(std::ranges::all_of(decoded.left, [](std::int8_t level) { return level == 0; }));
}

TEST_CASE("FactorLevels: no levels take more than the bound") {
  FactorLevels levels(64, 64, 2);
  RngStream rng(7);
  // Calm for long, then as large as can be, which no adaptive code expects.
  for (std::vector<std::int8_t>* side : {&levels.left, &levels.right}) {
    for (std::size_t i = 0; i < side->size(); ++i)
      (*side)[i] = static_cast<std::int8_t>(i % 32 < 24 ? 0 : (rng.Uniform() < 0.5F ? 40 : -39));
  }
  levels.scales = {1, 255};
  CHECK(Encode(levels).size() <= FactorBytesMax(64, 64, 2));
}

TEST_CASE("FactorLevels: levels that agree with their neighbours take fewer bytes") {
  FactorLevels smooth(256, 16, 2);
  FactorLevels rough(256, 16, 2);
  RngStream rng(5);
  for (std::size_t i = 0; i < smooth.left.size(); ++i) {
    // Blocks of 4 x 4 in an image that is 16 wide, and the same shares of levels at random.
    const bool busy = (i / 4 + i / 64) % 3 == 0;
    smooth.left[i] = static_cast<std::int8_t>(busy ? ((i / 64) % 2 == 0 ? 1 : -1) : 0);
    const float place = rng.Uniform();
    rough.left[i] = static_cast<std::int8_t>(place < 0.17F ? 1 : place < 0.33F ? -1 : 0);
  }
  for (std::vector<std::int8_t>* right : {&smooth.right, &rough.right}) right->assign(32, 1);
  smooth.scales = {192, 190};
  rough.scales = smooth.scales;
  const Bytes bytes = Encode(smooth);
  CHECK(2 * bytes.size() < Encode(rough).size());
  FactorLevels decoded(256, 16, 2);
  REQUIRE(DecodeFactors(bytes, decoded));
  CHECK(decoded.left == smooth.left);
}

TEST_CASE("FactorLevels: other bytes than the encoder's are refused") {
  const Bytes bytes = Encode(NormalLevels(20, 10, 2, 2.0F, 3));
  FactorLevels decoded(20, 10, 2);
  Bytes longer = bytes;
  longer.push_back(std::byte{0});
  CHECK(CodeOf(DecodeFactors(longer, decoded)) == ErrorCode::kMalformed);
  // A scale of 1 and then nothing but zeros.
  decoded = FactorLevels(20, 10, 2);
  const Bytes scale_alone = {std::byte{0x01}};
  CHECK(CodeOf(DecodeFactors(scale_alone, decoded)) == ErrorCode::kMalformed);
}

TEST_CASE("FactorScale: indices stand for quarter octaves around one") {
  CHECK(FactorScale(0) == 0);
  CHECK(FactorScale(192) == 1);
  CHECK(FactorScale(196) == 2);
  CHECK(FactorScale(184) == 0.25F);
  for (unsigned index = 1; index < 256; ++index) {
    CHECK(FactorScaleIndex(FactorScale(static_cast<std::uint8_t>(index))) == index);
  }
  CHECK(FactorScaleIndex(0) == 1);
  CHECK(FactorScaleIndex(1e30F) == 255);
  CHECK(FactorScaleIndex(1.08F) == 192);
  CHECK(FactorScaleIndex(1.10F) == 193);
}

}  // namespace
}  // namespace fl::internal
