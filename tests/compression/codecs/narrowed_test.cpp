#include "fl/compression/codecs/narrowed.h"

#include "fl/tests/compression/codec_builder.h"
#include "fl/tests/support/property.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::Get;
using testing::MakeCodec;

constexpr std::size_t kCount = 900;
constexpr std::size_t kPart = 300;

// Every third coordinate, another third in each round.
std::vector<std::uint32_t> EveryThird(std::uint64_t round) {
  std::vector<std::uint32_t> coordinates;
  for (std::size_t i = round % 3; i < kCount; i += 3)
    coordinates.push_back(static_cast<std::uint32_t>(i));
  return coordinates;
}

Narrowed MakeNarrowed(std::string_view recipe) {
  return {kCount, EveryThird, MakeCodec(recipe, {20, kPart / 20})};
}

TEST_CASE("Narrowed: sends what the part's codec sends of the part, and nothing else") {
  for (const char* recipe : {"raw", "quantize 4", "low_rank 2 | quantize step=1 | context",
                             "top_k 5% | ternary | rice", "eden 2", "dead_zone 2 | rans"}) {
    CAPTURE(recipe);
    const Narrowed codec = MakeNarrowed(recipe);
    const auto part_codec = MakeCodec(recipe, {20, kPart / 20});
    const std::vector<float> values = testing::NormalValues(kCount, RngStream(1));
    for (const std::uint64_t round : {4U, 5U, 6U}) {
      std::vector<float> part;
      for (const std::uint32_t at : EveryThird(round)) part.push_back(values[at]);
      const auto of_part = EncodeValues(*part_codec, part, RngStream(2));
      std::vector<float> decoded(kCount, 7.0F);
      ByteWriter out;
      codec.Encode(values, decoded, {{}, round}, RngStream(2), out);
      const Bytes payload = std::move(out).Take();
      CHECK(payload == of_part.payload);
      std::vector<float> expected(kCount);
      for (std::size_t i = 0; i < kPart; ++i) expected[EveryThird(round)[i]] = of_part.decoded[i];
      CHECK(decoded == expected);
      const auto parsed = Get(codec.Parse(payload, {{}, round}, {}));
      std::vector<float> blocks(kCount);
      for (std::size_t first = 0; first < kCount; first += 77) {
        codec.DecodeAdd(
            *parsed, first, 1.0F,
            std::span(blocks).subspan(first, std::min<std::size_t>(77, kCount - first)));
      }
      CHECK(blocks == expected);
    }
  }
}

TEST_CASE("Narrowed: a coordinate's mean is over the updates that sent it, of whatever round") {
  const Narrowed codec = MakeNarrowed("raw");
  const Codec& sums = *codec.summed();
  REQUIRE(sums.count() == 2 * kCount);
  testing::ForAll(5, [&](RngStream& rng) {
    std::vector<float> sum(2 * kCount);
    std::vector<double> expected(kCount);
    std::vector<double> weights(kCount);
    for (std::uint64_t update = 0; update < 6; ++update) {
      const std::uint64_t round = rng.UniformInteger(2);  // A third is never sent.
      const auto weight = static_cast<float>(1 + rng.UniformInteger(50));
      const std::vector<float> values = testing::NormalValues(kCount, rng.Child("update", update));
      std::vector<float> decoded(kCount);
      ByteWriter out;
      codec.Encode(values, decoded, {{}, round}, RngStream(2), out);
      const auto parsed = Get(codec.Parse(out.bytes(), {{}, round}, {}));
      const std::size_t cut = rng.UniformInteger(2 * kCount);
      sums.DecodeAdd(*parsed, 0, weight, std::span(sum).first(cut));
      sums.DecodeAdd(*parsed, cut, weight, std::span(sum).subspan(cut));
      for (const std::uint32_t at : EveryThird(round)) {
        expected[at] += double{weight} * double{values[at]};
        weights[at] += double{weight};
      }
    }
    std::vector<float> mean(kCount, 7.0F);
    codec.Estimate(sum, 0, std::span(mean).first(401));
    codec.Estimate(sum, 401, std::span(mean).subspan(401));
    for (std::size_t i = 0; i < kCount; ++i) {
      CHECK(double{mean[i]} ==
            doctest::Approx(weights[i] > 0 ? expected[i] / weights[i] : 0).epsilon(1e-4));
    }
  });
}

TEST_CASE("Narrowed: refuses what the part's codec refuses") {
  const Narrowed codec = MakeNarrowed("raw");
  CHECK(codec.EncodedBytesMax() == 4 * kPart);
  CHECK(testing::CodeOf(codec.Parse(Bytes(4 * kPart - 1), {{}, 1}, {})) == ErrorCode::kMalformed);
  CHECK(testing::CodeOf(codec.Parse(Bytes(4 * kCount), {{}, 1}, {})) == ErrorCode::kMalformed);
  CHECK_FALSE(codec.traits().lossless);
  CHECK(codec.traits().needs_round_parameters);
}

}  // namespace
}  // namespace fl
