#include "fl/compression/codecs/split.h"

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;
using testing::RelativeError;

Shape Layer() {
  return {60, 40};
}

// One direction and a few large values: what neither of two parts says alone.
std::vector<float> DirectionAndSpikes(RngStream rng) {
  std::vector<float> values(2400);
  const std::vector<float> left = testing::NormalValues(60, rng.Child("left"));
  const std::vector<float> right = testing::NormalValues(40, rng.Child("right"));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = left[i / 40] * right[i % 40] + (i % 200 == 7 ? 5.0F : 0.0F);
  return values;
}

TEST_CASE("Split: the second part codes what the first left out") {
  const std::vector<float> values = DirectionAndSpikes(RngStream(1));
  const auto first = MakeCodec("low_rank 1", Layer());
  const auto second = MakeCodec("top_k 1% | fp16", Layer());
  const auto both =
      EncodeValues(*MakeCodec("low_rank 1 + top_k 1% | fp16", Layer()), values, RngStream(9));
  const auto of_first = EncodeValues(*first, values, RngStream(9).Child("part", 0));
  std::vector<float> left(values);
  for (std::size_t i = 0; i < left.size(); ++i) left[i] -= of_first.decoded[i];
  const auto of_second = EncodeValues(*second, left, RngStream(9).Child("part", 1));
  for (std::size_t i = 0; i < left.size(); ++i)
    CHECK(both.decoded[i] == of_first.decoded[i] + of_second.decoded[i]);
  ByteWriter expected;
  expected.WriteVarint(of_first.payload.size());
  expected.WriteSpan(of_first.payload);
  expected.WriteSpan(of_second.payload);
  CHECK(both.payload == expected.bytes());
}

TEST_CASE("Split: two parts together say what neither says alone") {
  const std::vector<float> values = DirectionAndSpikes(RngStream(1));
  const auto error_of = [&](const char* recipe) {
    return RelativeError(values,
                         EncodeValues(*MakeCodec(recipe, Layer()), values, RngStream(3)).decoded);
  };
  const double both = error_of("low_rank 1 + top_k 1%");
  CHECK(both < 0.1 * error_of("low_rank 1"));
  CHECK(both < 0.1 * error_of("top_k 1%"));
}

TEST_CASE("Split: the bound is that of the parts and their lengths") {
  // 100 values of each: 400 and 200 bytes, the first behind a length of two bytes.
  CHECK(MakeCodec("fp16 + raw", {100})->EncodedBytesMax() == 2 + 200 + 400);
  CHECK(MakeCodec("sign + sign + sign", {8})->EncodedBytesMax() == 1 + 3 + 1 + 3 + 3);
}

TEST_CASE("Split: a last part that rounds at random without bias makes the whole unbiased") {
  const auto traits_of = [](const char* recipe) { return MakeCodec(recipe, Layer())->traits(); };
  CHECK(traits_of("low_rank 2 + quantize 2 stochastic").unbiased);
  CHECK_FALSE(traits_of("quantize 2 stochastic + top_k 1%").unbiased);
  CHECK_FALSE(traits_of("fp16 + raw").lossless);
  CHECK(traits_of("fp16 + top_k 1%").deterministic);
  CHECK_FALSE(traits_of("low_rank 1 + top_k 1%").deterministic);
  CHECK(traits_of("hadamard 64 seed=shared | quantize 2 + top_k 1%").needs_round_parameters);
}

// The seeds of two shared rotations lie one behind the other.
TEST_CASE("Split: each part has its own piece of the round's parameters") {
  const auto codec = MakeCodec(
      "hadamard 64 seed=shared | quantize 2 + hadamard 64 seed=shared | quantize 2", Layer());
  const std::vector<float> values = testing::NormalValues(2400, RngStream(4));
  RoundParameters parameters{codec->InitialParameters()};
  REQUIRE(parameters.bytes.size() == 8);
  CHECK(codec->NextParameters(parameters.bytes, {}) == parameters.bytes);
  const auto encode = [&] {
    ByteWriter out;
    std::vector<float> decoded(2400);
    codec->Encode(values, decoded, parameters, RngStream(1), out);
    return std::move(out).Take();
  };
  const Bytes before = encode();
  parameters.bytes[4] = std::byte{7};
  const Bytes after = encode();
  const std::size_t first = 2 + 2 + 600;
  CHECK(std::ranges::equal(ByteSpan(before).first(first), ByteSpan(after).first(first)));
  CHECK(before != after);
}

TEST_CASE("Split: malformed lengths and parts are refused") {
  const auto codec = MakeCodec("fp16 + fp16", {1});
  const auto code_of = [&](const std::vector<int>& payload) {
    Bytes bytes;
    for (const int byte : payload) bytes.push_back(static_cast<std::byte>(byte));
    return testing::CodeOf(codec->Parse(bytes, {}, {.magnitude_max = 4}));
  };
  CHECK(code_of({2, 0x00, 0x3C, 0x00, 0x3C}) == ErrorCode::kOk);
  CHECK(code_of({}) == ErrorCode::kMalformed);
  CHECK(code_of({2}) == ErrorCode::kMalformed);
  CHECK(code_of({2, 0x00, 0x3C}) == ErrorCode::kMalformed);
  CHECK(code_of({1, 0x00, 0x3C, 0x00, 0x3C}) == ErrorCode::kMalformed);
  CHECK(code_of({3, 0x00, 0x3C, 0x00, 0x3C}) == ErrorCode::kMalformed);
  CHECK(code_of({0x82, 0x00, 0x00, 0x3C, 0x00, 0x3C}) == ErrorCode::kMalformed);
  CHECK(code_of({2, 0x00, 0x3C, 0x00, 0x3C, 0x00}) == ErrorCode::kMalformed);
  CHECK(code_of({2, 0x00, 0x7C, 0x00, 0x3C}) == ErrorCode::kNotFinite);
  // Each part may use half of the limit.
  CHECK(code_of({2, 0x00, 0x40, 0x00, 0x40}) == ErrorCode::kOk);
  CHECK(code_of({2, 0x01, 0x40, 0x00, 0x00}) == ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace fl
