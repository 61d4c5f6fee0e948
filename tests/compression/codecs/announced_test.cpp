#include "fl/compression/codecs/announced.h"

#include <algorithm>
#include <cmath>

#include "fl/tests/compression/codec_builder.h"
#include "fl/tests/support/property.h"

namespace fl {
namespace {

using testing::CodeOf;
using testing::Get;
using testing::MakeCodec;

TEST_CASE("Announced: a part keeps places and its size, whatever the aggregate is") {
  testing::ForAll(200, [](RngStream& rng) {
    AnnouncedConfig config;
    config.count = 1 + rng.UniformInteger(700);
    config.share = 0.001 + 0.999 * rng.UniformDouble();
    config.explore = 0.001 + 0.999 * rng.UniformDouble();
    const Announced rule(config);
    std::vector<float> aggregate(config.count);
    for (float& value : aggregate) value = rng.UniformInteger(2) == 0 ? 0.0F : rng.Normal();
    const Bytes first = rule.Initial();
    const Bytes next = rule.Next(first, aggregate);
    for (const Bytes& part : {first, next}) {
      CHECK(part.size() == rule.ParametersBytes());
      const auto places = Get(rule.Choose(part));
      CHECK(places.size() == rule.kept_blocks());
      for (std::size_t i = 1; i < places.size(); ++i) CHECK(places[i - 1] < places[i]);
      CHECK(places.back() < config.count);
    }
  });
}

TEST_CASE("Announced: what was largest is sent next, ties to the lower index, and some others") {
  const Announced rule({.count = 100, .share = 0.1, .explore = 0.2});
  std::vector<float> aggregate(100);
  for (const unsigned i : {7U, 20U, 33U, 41U, 58U, 60U, 77U}) aggregate[i] = -3;
  aggregate[80] = 1;
  aggregate[90] = 1;
  const auto places = Get(rule.Choose(rule.Next(rule.Initial(), aggregate)));
  CHECK(places.size() == 10);
  for (const std::uint32_t place : {7U, 20U, 33U, 41U, 58U, 60U, 77U, 80U}) {
    CHECK(std::ranges::binary_search(places, place));
  }
}

// A place costs about 2 + log2(n / t) bits.
TEST_CASE("Announced: a part is small") {
  const Announced rule({.count = 1'000'000, .share = 0.01, .explore = 0.2});
  CHECK(rule.ParametersBytes() < 8000 * (2 + std::log2(125.0)) / 8 + 20);
}

TEST_CASE("Announced: finds coordinates that stay large, and what it sends shrinks the error") {
  std::vector<float> values(1000, 0.01F);
  for (std::size_t i = 0; i < 40; ++i) values[i * 23 + 5] = 1.0F;
  const auto codec = MakeCodec("announced 10% explore=50% | fp16", {1000});
  CHECK(codec->traits().server_state);
  CHECK(codec->traits().wants_residual());
  RoundParameters parameters{codec->InitialParameters()};
  double error = 1;
  for (int round = 0; round < 80; ++round) {
    std::vector<float> decoded(1000);
    ByteWriter out;
    codec->Encode(values, decoded, parameters, RngStream(1), out);
    CHECK(out.size() == 200);
    error = testing::RelativeError(values, decoded);
    RoundFeedback feedback;
    feedback.aggregate = decoded;
    parameters.bytes = codec->NextParameters(parameters.bytes, feedback);
  }
  // Each round a coordinate that is not in yet is drawn with a chance of 5 %: after 80 rounds 0.6
  // of 40 are expected to be missing; more than 5 are in 1 of 10000 runs.
  CHECK(error < 6.0 / 40);
}

TEST_CASE("Announced: parameters that hold no ascending places are refused") {
  const auto codec = MakeCodec("announced 10%", {200});
  RoundParameters parameters{codec->InitialParameters()};
  const Bytes payload(80);
  CHECK(CodeOf(codec->Parse(payload, parameters, {})) == ErrorCode::kOk);
  CHECK(CodeOf(codec->Parse(payload, {}, {})) == ErrorCode::kInvalidArgument);
  for (std::size_t i = parameters.bytes.size() - 4; i < parameters.bytes.size(); ++i) {
    RoundParameters wrong = parameters;
    wrong.bytes[i] ^= std::byte{0x01};
    CHECK(CodeOf(codec->Parse(payload, wrong, {})) == ErrorCode::kInvalidArgument);
  }
  std::ranges::fill(parameters.bytes, std::byte{0xff});
  CHECK(CodeOf(codec->Parse(payload, parameters, {})) == ErrorCode::kInvalidArgument);
}

TEST_CASE("Announced: integer sums finish to the sum of what each decoder sees") {
  const auto codec = MakeCodec("announced 20% | quantize 8 scale=shared range=4", {300});
  CHECK(codec->traits().linear);
  const RoundParameters parameters{codec->InitialParameters()};
  std::vector<std::int64_t> sum(300);
  std::vector<double> expected(300);
  for (std::uint64_t client = 0; client < 5; ++client) {
    const auto values = testing::NormalValues(300, RngStream(3).Child("client", client));
    std::vector<float> decoded(300);
    ByteWriter out;
    codec->Encode(values, decoded, parameters, RngStream(4), out);
    codec->DecodeAddIntegers(*Get(codec->Parse(out.bytes(), parameters, {})), 0, sum);
    for (std::size_t i = 0; i < 300; ++i) expected[i] += double{decoded[i]};
  }
  std::vector<float> out(300);
  codec->Finish(sum, 5, parameters, 0, out);
  for (std::size_t i = 0; i < 300; ++i) {
    CHECK(double{out[i]} == doctest::Approx(expected[i]).epsilon(1e-5).scale(1));
  }
}

}  // namespace
}  // namespace fl
