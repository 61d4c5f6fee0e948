#include "fl/compression/codecs/shared_mask.h"

#include <algorithm>
#include <cmath>

#include "fl/tests/compression/codec_builder.h"
#include "fl/tests/support/property.h"

namespace fl {
namespace {

using testing::CodeOf;
using testing::EncodeValues;
using testing::Get;
using testing::MakeCodec;

// The parameters of the codec's round `round`, 0 being the first.
RoundParameters ParametersAfter(const Codec& codec, std::uint64_t round) {
  RoundParameters parameters{codec.InitialParameters(), round};
  const std::vector<float> aggregate(codec.count());
  RoundFeedback feedback;
  feedback.aggregate = aggregate;
  for (std::uint64_t i = 0; i < round; ++i) {
    const Bytes next = codec.NextParameters(parameters.bytes, feedback);
    REQUIRE(next.size() == parameters.bytes.size());
    parameters.bytes = next;
  }
  return parameters;
}

std::vector<float> DecodedWith(const Codec& codec, std::span<const float> values,
                               const RoundParameters& parameters) {
  std::vector<float> decoded(values.size());
  ByteWriter out;
  codec.Encode(values, decoded, parameters, RngStream(2), out);
  const auto parsed = Get(codec.Parse(out.bytes(), parameters, {}));
  std::vector<float> seen(values.size());
  codec.DecodeAdd(*parsed, 0, 1.0F, seen);
  CHECK(seen == decoded);
  return decoded;
}

TEST_CASE("SharedSupport: ranks count the kept coordinates, a shorter last block included") {
  const SharedSupport support{10, 4, {0, 2}};  // 0 to 3, 8 and 9.
  CHECK(support.size() == 6);
  const std::vector<std::size_t> expected = {0, 1, 2, 3, 4, 4, 4, 4, 4, 5, 6};
  for (std::size_t i = 0; i <= 10; ++i) CHECK(support.RankOf(i) == expected[i]);
  CHECK(SharedSupport{10, 4, {0, 1}}.size() == 8);
  CHECK(SharedSupport{3, 4, {0}}.size() == 3);
}

TEST_CASE("DrawSubset: has the size asked for, ascending, and each number as often") {
  std::vector<int> seen(10);
  for (std::uint64_t seed = 0; seed < 4000; ++seed) {
    const auto subset = DrawSubset(RngStream(seed), 10, 3);
    CHECK(subset.size() == 3);
    for (std::size_t i = 1; i < subset.size(); ++i) CHECK(subset[i - 1] < subset[i]);
    for (const std::uint32_t number : subset) ++seen[number];
  }
  // 1200 expected, variance 840: five deviations are 145, beyond which one of ten lies in 170000
  // runs.
  for (const int times : seen) CHECK(std::abs(times - 1200) < 145);
  CHECK(DrawSubset(RngStream(1), 5, 5) == std::vector<std::uint32_t>{0, 1, 2, 3, 4});
}

TEST_CASE("SharedMask: sends whole blocks and nothing about their places") {
  const std::vector<float> values(1000, 1.0F);
  const auto codec = MakeCodec("shared_mask 10%", {1000});  // 16 blocks of 64, the last of 40.
  const auto encoded = EncodeValues(*codec, values, RngStream(1));
  std::size_t kept = 0;
  for (std::size_t block = 0; block < 1000; block += 64) {
    const auto whole =
        std::span(encoded.decoded).subspan(block, std::min<std::size_t>(64, 1000 - block));
    CHECK(std::ranges::all_of(whole, [&](float value) { return value == whole[0]; }));
    if (whole[0] == 1.0F) kept += whole.size();
  }
  CHECK((kept == 128 || kept == 104));
  CHECK(encoded.payload.size() == 4 * kept);
  CHECK(codec->EncodedBytesMax() == 512);
  CHECK(MakeCodec("shared_mask 10% block=1 | quantize 8", {1000})->EncodedBytesMax() == 102);
}

TEST_CASE("SharedMask: another round has another mask, the same parameters the same") {
  const std::vector<float> values = testing::NormalValues(2000, RngStream(1));
  const auto codec = MakeCodec("shared_mask 25% block=16", {2000});
  const auto first = DecodedWith(*codec, values, ParametersAfter(*codec, 0));
  CHECK(DecodedWith(*codec, values, ParametersAfter(*codec, 0)) == first);
  CHECK_FALSE(DecodedWith(*codec, values, ParametersAfter(*codec, 1)) == first);
}

// Over rounds each coordinate is sent with the chance of its block, so that what is left out has
// the rest of the energy: 1 - 1/4 of it. Each round's error of 63 blocks deviates by about 0.05,
// their mean over 400 by 0.0027.
TEST_CASE("SharedMask: leaves out its share of the energy") {
  const std::vector<float> values = testing::NormalValues(2000, RngStream(1));
  const auto codec = MakeCodec("shared_mask 25% block=32", {2000});  // 16 of 63 blocks.
  double error = 0;
  RoundParameters parameters = ParametersAfter(*codec, 0);
  RoundFeedback feedback;
  feedback.aggregate = values;
  for (int round = 0; round < 400; ++round) {
    error += testing::RelativeError(values, DecodedWith(*codec, values, parameters)) / 400;
    parameters.bytes = codec->NextParameters(parameters.bytes, feedback);
  }
  CHECK(std::abs(error - (1 - 16.0 / 63)) < 0.015);
  CHECK(codec->traits().relative_error.value() == doctest::Approx(1 - 16.0 / 63));
  CHECK(codec->traits().contraction().value() == doctest::Approx(16.0 / 63));
  CHECK(codec->traits().wants_residual());
}

// Random-k: the mean over rounds is the values, and the error is 1 / p - 1 of the energy. The
// error of the mean of 2000 rounds has 3 / 2000 of it.
TEST_CASE("SharedMask: unbiased is so, with the error of random-k") {
  const std::vector<float> values = testing::NormalValues(400, RngStream(1));
  const auto codec = MakeCodec("shared_mask 25% unbiased block=1", {400});
  std::vector<float> mean(400);
  double error = 0;
  RoundParameters parameters = ParametersAfter(*codec, 0);
  RoundFeedback feedback;
  feedback.aggregate = values;
  for (int round = 0; round < 2000; ++round) {
    const auto decoded = DecodedWith(*codec, values, parameters);
    error += testing::RelativeError(values, decoded) / 2000;
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += decoded[i] / 2000;
    parameters.bytes = codec->NextParameters(parameters.bytes, feedback);
  }
  CHECK(error == doctest::Approx(3.0).epsilon(0.02));
  CHECK(testing::RelativeError(values, mean) == doctest::Approx(3.0 / 2000).epsilon(0.35));
  CHECK(codec->traits().unbiased);
  CHECK(codec->traits().relative_error == 3.0);
  CHECK_FALSE(codec->traits().contraction().has_value());
}

TEST_CASE("SharedMask: integer sums finish to the sum of what each decoder sees") {
  testing::ForAll(10, [](RngStream& rng) {
    const auto codec = MakeCodec(
        rng.UniformInteger(2) == 0
            ? "shared_mask 20% block=8 | quantize 6 scale=shared range=3"
            : "shared_mask 20% unbiased block=1 | quantize 8 scale=shared range=3 stochastic",
        {501});
    CHECK(codec->traits().linear);
    const RoundParameters parameters = ParametersAfter(*codec, rng.UniformInteger(3));
    std::vector<std::int64_t> sum(501);
    std::vector<double> expected(501);
    for (std::uint64_t client = 0; client < 9; ++client) {
      const auto values = testing::NormalValues(501, rng.Child("client", client));
      std::vector<float> decoded(501);
      ByteWriter out;
      codec->Encode(values, decoded, parameters, rng.Child("encode", client), out);
      const auto parsed = Get(codec->Parse(out.bytes(), parameters, {}));
      const std::size_t cut = rng.UniformInteger(502);
      codec->DecodeAddIntegers(*parsed, cut, std::span(sum).subspan(cut));
      codec->DecodeAddIntegers(*parsed, 0, std::span(sum).first(cut));
      for (std::size_t i = 0; i < 501; ++i) expected[i] += double{decoded[i]};
    }
    std::vector<float> whole(501);
    codec->Finish(sum, 9, parameters, 0, whole);
    for (std::size_t i = 0; i < 501; ++i) {
      CHECK(double{whole[i]} == doctest::Approx(expected[i]).epsilon(1e-5).scale(1));
    }
    std::vector<float> pieces(501, 7.0F);
    const std::size_t cut = rng.UniformInteger(502);
    codec->Finish(std::span(sum).first(cut), 9, parameters, 0, std::span(pieces).first(cut));
    codec->Finish(std::span(sum).subspan(cut), 9, parameters, cut, std::span(pieces).subspan(cut));
    CHECK(pieces == whole);
  });
}

TEST_CASE("SharedMask: missing parameters and payloads of another size are refused") {
  const auto codec = MakeCodec("shared_mask 10% block=8 | quantize 8", {1000});
  const auto encoded = EncodeValues(*codec, std::vector<float>(1000, 1.0F), RngStream(1));
  CHECK(CodeOf(codec->Parse(encoded.payload, {}, {})) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(codec->Parse(encoded.payload, {Bytes(7)}, {})) == ErrorCode::kInvalidArgument);
  Bytes longer = encoded.payload;
  longer.push_back({});
  CHECK(CodeOf(codec->Parse(longer, encoded.parameters, {})) == ErrorCode::kMalformed);
}

TEST_CASE("SharedMask: the limit is for what is decoded") {
  const auto codec = MakeCodec("shared_mask 25% unbiased block=1", {400});
  const auto encoded = EncodeValues(*codec, std::vector<float>(400, 1.0F), RngStream(1));
  CHECK(CodeOf(codec->Parse(encoded.payload, encoded.parameters, {.magnitude_max = 4})) ==
        ErrorCode::kOk);
  CHECK(CodeOf(codec->Parse(encoded.payload, encoded.parameters, {.magnitude_max = 3.9F})) ==
        ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace fl
