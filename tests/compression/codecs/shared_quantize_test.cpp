#include <cmath>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;

TEST_CASE("SharedQuantize: integer sums finish to the sum of what each client's decoder sees") {
  const auto codec = MakeCodec("quantize 6 stochastic scale=shared range=4", {777});
  std::vector<std::int64_t> sum(777);
  std::vector<double> expected(777);
  for (std::uint64_t client = 0; client < 20; ++client) {
    const auto encoded =
        EncodeValues(*codec, testing::NormalValues(777, RngStream(1).Child("client", client)),
                     RngStream(2).Child("client", client));
    const auto parsed = testing::Get(codec->Parse(encoded.payload, encoded.parameters, {}));
    codec->DecodeAddIntegers(*parsed, 0, std::span(sum).first(500));
    codec->DecodeAddIntegers(*parsed, 500, std::span(sum).subspan(500));
    for (std::size_t i = 0; i < expected.size(); ++i)
      expected[i] += static_cast<double>(encoded.decoded[i]);
  }
  std::vector<float> out(777);
  codec->Finish(sum, 20, {codec->InitialParameters()}, 0, out);
  for (std::size_t i = 0; i < out.size(); ++i) {
    CHECK(static_cast<double>(out[i]) == doctest::Approx(expected[i]).epsilon(1e-5).scale(1));
  }
}

TEST_CASE("SharedQuantize: values beyond the range become its ends") {
  const std::vector<float> values = {9, -9, 0.5F};
  const auto encoded =
      EncodeValues(*MakeCodec("quantize 8 scale=shared range=1", {3}), values, RngStream(1));
  CHECK(encoded.decoded[0] == doctest::Approx(1));
  CHECK(encoded.decoded[1] == doctest::Approx(-1));
}

TEST_CASE("SharedQuantize: wrong round parameters are refused") {
  const auto codec = MakeCodec("quantize 8 scale=shared", {3});
  const auto encoded = EncodeValues(*codec, std::vector<float>(3), RngStream(1));
  CHECK(testing::CodeOf(codec->Parse(encoded.payload, encoded.parameters, {})) == ErrorCode::kOk);
  CHECK(testing::CodeOf(codec->Parse(encoded.payload, {}, {})) == ErrorCode::kInvalidArgument);
  for (const float range : {0.0F, -1.0F, INFINITY, NAN}) {
    CAPTURE(range);
    ByteWriter parameters;
    parameters.Write(range);
    CHECK(testing::CodeOf(codec->Parse(encoded.payload, {parameters.bytes()}, {})) ==
          ErrorCode::kInvalidArgument);
  }
}

TEST_CASE("SharedQuantize: each segment reads its own part of the round's parameters") {
  CompressionConfig compression;
  compression.gather_below = 0;
  compression.rules = {{{"a", {}}, {"quantize 8 scale=shared range=1", {}}},
                       {{"b", {}}, {"quantize 8 scale=shared range=8", {}}}};
  const auto plan =
      testing::Get(SegmentPlan::Create(compression, TensorLayout({{"a", {2}}, {"b", {2}}})));
  const RoundParameters parameters = plan.InitialRoundParameters();
  CHECK(parameters.bytes.size() == 8);
  for (std::size_t segment = 0; segment < 2; ++segment) {
    std::vector<float> decoded(2);
    ByteWriter out;
    plan.segments()[segment].codec->Encode(std::vector<float>{100, -100}, decoded, parameters,
                                           RngStream(1), out);
    CHECK(decoded[0] == doctest::Approx(segment == 0 ? 1 : 8));
  }
}

}  // namespace
}  // namespace fl
