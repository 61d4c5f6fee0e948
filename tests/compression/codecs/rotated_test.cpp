#include "fl/compression/codecs/rotated.h"

#include <algorithm>
#include <cmath>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;

constexpr const char* kShared =
    "hadamard 256 seed=shared | quantize 6 stochastic scale=shared range=5";

std::vector<float> ClientValues(std::size_t count, std::uint64_t client) {
  return testing::NormalValues(count, RngStream(1).Child("client", client));
}

TEST_CASE("Rotated: integer sums finish to the sum of what each client's decoder sees") {
  const auto codec = MakeCodec(kShared, {1000});
  CHECK(codec->traits().linear);
  CHECK(codec->traits().granularity == 256);
  std::vector<std::int64_t> sum(1000);
  std::vector<double> expected(1000);
  for (std::uint64_t client = 0; client < 20; ++client) {
    const auto encoded =
        EncodeValues(*codec, ClientValues(1000, client), RngStream(2).Child("client", client));
    const auto parsed = testing::Get(codec->Parse(encoded.payload, encoded.parameters, {}));
    codec->DecodeAddIntegers(*parsed, 0, std::span(sum).first(500));
    codec->DecodeAddIntegers(*parsed, 500, std::span(sum).subspan(500));
    for (std::size_t i = 0; i < expected.size(); ++i)
      expected[i] += static_cast<double>(encoded.decoded[i]);
  }
  const RoundParameters parameters{codec->InitialParameters()};
  std::vector<float> out(1000);
  codec->Finish(sum, 20, parameters, 0, out);
  for (std::size_t i = 0; i < out.size(); ++i) {
    CHECK(static_cast<double>(out[i]) == doctest::Approx(expected[i]).epsilon(1e-5).scale(1));
  }
  std::vector<float> pieces(1000);
  codec->Finish(std::span(sum).first(512), 20, parameters, 0, std::span(pieces).first(512));
  codec->Finish(std::span(sum).subspan(512), 20, parameters, 512, std::span(pieces).subspan(512));
  CHECK(pieces == out);
}

// The clients' values and so their sum are the same up to rounding, whoever comes first.
TEST_CASE("Rotated: the order of clients does not change a bit of the integer sum") {
  const auto codec = MakeCodec(kShared, {700});
  const auto sum_of = [&](const std::vector<std::uint64_t>& clients) {
    std::vector<std::int64_t> sum(700);
    for (const std::uint64_t client : clients) {
      const auto encoded =
          EncodeValues(*codec, ClientValues(700, client), RngStream(2).Child("client", client));
      const auto parsed = testing::Get(codec->Parse(encoded.payload, encoded.parameters, {}));
      codec->DecodeAddIntegers(*parsed, 0, sum);
    }
    return sum;
  };
  CHECK(sum_of({0, 1, 2, 3}) == sum_of({3, 1, 0, 2}));
}

// A spike in values of size one: a grid of its largest magnitude has only zeros for the others,
// while the rotation leaves values within about four times their root mean square.
TEST_CASE("Rotated: an outlier does not spoil the grid") {
  std::vector<float> values = testing::NormalValues(4096, RngStream(1));
  values[7] = 100;
  const auto error = [&](const char* recipe) {
    const auto encoded = EncodeValues(*MakeCodec(recipe, {4096}), values, RngStream(2));
    double sum = 0;
    for (std::size_t i = 8; i < values.size(); ++i)
      sum += std::pow(static_cast<double>(values[i] - encoded.decoded[i]), 2.0);
    return sum / 4088;
  };
  CHECK(error("quantize 4") > 0.9);
  CHECK(error("hadamard 1024 | quantize 4") < 0.3);
}

// The rotation makes values normal, for which a step of two deviations spends about a bit and
// leaves a third of the energy.
TEST_CASE("Rotated: levels may be entropy-coded") {
  std::vector<float> values = testing::NormalValues(8192, RngStream(1));
  for (float& value : values) value *= value * value;
  const auto codec = MakeCodec("hadamard 1024 | dead_zone 2 | context", {8192});
  const auto encoded = EncodeValues(*codec, values, RngStream(2));
  CHECK(testing::DecodeAll(*codec, encoded) == encoded.decoded);
  CHECK(encoded.payload.size() < 8192 * 9 / 8 / 8);
  CHECK(testing::RelativeError(values, encoded.decoded) < 0.38);
}

TEST_CASE("Rotated: each message with its own seed has its own rotation") {
  const std::vector<float> values = testing::NormalValues(600, RngStream(1));
  const auto codec = MakeCodec("hadamard 256 | quantize 4", {600});
  const auto once = EncodeValues(*codec, values, RngStream(2));
  const auto again = EncodeValues(*codec, values, RngStream(3));
  CHECK_FALSE(std::equal(once.payload.begin(), once.payload.begin() + 4, again.payload.begin()));
  CHECK_FALSE(once.decoded == again.decoded);
  CHECK(once.payload.size() == 4 + 2 + 300);
}

TEST_CASE("Rotated: the round's seed decides the shared rotation") {
  const std::vector<float> values = testing::NormalValues(600, RngStream(1));
  const auto codec = MakeCodec(kShared, {600});
  const auto encode = [&](std::uint32_t seed) {
    ByteWriter parameters;
    parameters.Write(seed);
    parameters.Write(5.0F);
    std::vector<float> decoded(600);
    ByteWriter out;
    codec->Encode(values, decoded, {parameters.bytes()}, RngStream(2), out);
    CHECK(testing::RelativeError(values, decoded) < 0.01);
    return out.bytes();
  };
  CHECK(encode(1) == encode(1));
  CHECK_FALSE(encode(1) == encode(2));
  CHECK(encode(1).size() == 450);
}

TEST_CASE("Rotated: missing round parameters and short payloads are refused") {
  const auto shared = MakeCodec(kShared, {600});
  const auto encoded = EncodeValues(*shared, std::vector<float>(600), RngStream(1));
  CHECK(testing::CodeOf(shared->Parse(encoded.payload, {}, {})) == ErrorCode::kInvalidArgument);
  CHECK(testing::CodeOf(shared->Parse(encoded.payload, {Bytes(4)}, {})) ==
        ErrorCode::kInvalidArgument);
  const auto own = MakeCodec("hadamard 64 | quantize 4", {10});
  CHECK(testing::CodeOf(own->Parse(Bytes(3), {}, {})) == ErrorCode::kMalformed);
}

// 64 values of magnitude 1 in the rotation may be one of magnitude 8 outside.
TEST_CASE("Rotated: the limit is for what a rotated value can become") {
  const auto codec = MakeCodec("hadamard 64 | bf16", {64});
  const auto encoded = EncodeValues(*codec, std::vector<float>(64, 1.0F), RngStream(1));
  CHECK(testing::CodeOf(codec->Parse(encoded.payload, {}, {.magnitude_max = 64})) ==
        ErrorCode::kOk);
  CHECK(testing::CodeOf(codec->Parse(encoded.payload, {}, {.magnitude_max = 1})) ==
        ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace fl
