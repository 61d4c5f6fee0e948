#include "fl/compression/codecs/sketch.h"

#include <algorithm>
#include <cmath>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;

TEST_CASE("CountSketch: a row's estimate is right on average, its variance as theory says") {
  constexpr std::size_t kCount = 400;
  constexpr std::size_t kColumns = 20;
  constexpr std::uint32_t kSeeds = 4000;
  const std::vector<float> values = testing::NormalValues(kCount, RngStream(1));
  double energy = 0;
  for (const float value : values) energy += double{value} * double{value};
  for (const std::size_t index : {std::size_t{0}, std::size_t{7}, kCount - 1}) {
    double sum = 0;
    double squares = 0;
    for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
      const CountSketch sketch({.rows = 1, .columns = kColumns, .count = kCount, .seed = seed});
      std::vector<float> cells(sketch.cells());
      sketch.Add(values, 0, cells);
      std::array<float, 1> estimate{};
      sketch.Estimate(cells, index, estimate);
      const double error = double{estimate[0]} - double{values[index]};
      sum += error;
      squares += error * error;
    }
    const double others = energy - double{values[index]} * double{values[index]};
    const double variance = others / kColumns;  // At most |values|^2 / columns.
    CHECK(std::fabs(sum / kSeeds) < 5 * std::sqrt(variance / kSeeds));
    CHECK(squares / kSeeds == doctest::Approx(variance).epsilon(0.1));
  }
}

TEST_CASE("CountSketch: the largest values are found, and the median keeps within its bound") {
  constexpr std::size_t kCount = 20000;
  std::vector<float> values(kCount);
  RngStream(2).FillNormal(values);
  for (float& value : values) value *= 0.01F;
  const std::vector<std::size_t> heavy = {3, 500, 777, 9000, 19999};
  for (const std::size_t index : heavy) values[index] = index % 2 == 0 ? 2.0F : -2.0F;
  const auto codec = MakeCodec("sketch 5x500", {kCount});
  const auto encoded = EncodeValues(*codec, values, RngStream(3));
  std::vector<std::size_t> order(kCount);
  for (std::size_t i = 0; i < kCount; ++i) order[i] = i;
  std::ranges::sort(order, std::greater(),
                    [&](std::size_t i) { return std::fabs(encoded.decoded[i]); });
  std::vector<std::size_t> found(order.begin(), order.begin() + 5);
  std::ranges::sort(found);
  CHECK(found == heavy);
  for (const std::size_t index : heavy) {
    CHECK(encoded.decoded[index] == doctest::Approx(values[index]).epsilon(0.15));
  }
  const double bound = codec->traits().relative_error.value();
  CHECK(bound == doctest::Approx(5.0 / 3.0 * 19999 / 500));
  CHECK(testing::RelativeError(values, encoded.decoded) < bound);
}

TEST_CASE("Sketch: cells add up, in any order, to the cells of the sum") {
  constexpr std::size_t kCount = 3000;
  const auto codec = MakeCodec("sketch 3x100", {kCount});
  const Codec& cells = *codec->summed();
  CHECK(cells.count() == 300);
  std::vector<float> whole(kCount);
  std::vector<float> forward(300);
  std::vector<float> backward(300);
  const auto add = [&](std::uint64_t client, std::vector<float>& sum, std::vector<float>* values) {
    // Integers, so that sums are exact.
    std::vector<float> own = testing::NormalValues(kCount, RngStream(4).Child("client", client));
    for (float& value : own) value = std::round(8 * value);
    const auto encoded = EncodeValues(*codec, own, RngStream(5));
    const auto parsed = testing::Get(codec->Parse(encoded.payload, encoded.parameters, {}));
    cells.DecodeAdd(*parsed, 0, 1.0F, sum);
    for (std::size_t i = 0; values != nullptr && i < kCount; ++i) (*values)[i] += own[i];
  };
  for (std::uint64_t client = 0; client < 5; ++client) add(client, forward, &whole);
  for (std::uint64_t client = 5; client-- > 0;) add(client, backward, nullptr);
  const auto of_whole = EncodeValues(*codec, whole, RngStream(6));
  const auto parsed = testing::Get(codec->Parse(of_whole.payload, of_whole.parameters, {}));
  std::vector<float> expected(300);
  cells.DecodeAdd(*parsed, 0, 1.0F, expected);
  CHECK(forward == expected);
  CHECK(backward == expected);
  std::vector<float> estimate(kCount);
  codec->Estimate(forward, 0, std::span(estimate).first(1111));
  codec->Estimate(forward, 1111, std::span(estimate).subspan(1111));
  CHECK(estimate == of_whole.decoded);
}

TEST_CASE("Sketch: with a grid that all share, cells are summed as integers") {
  const auto codec = MakeCodec("sketch 4x50 | quantize 8 scale=shared range=60", {1000});
  const Codec& cells = *codec->summed();
  CHECK(cells.traits().linear);
  CHECK_FALSE(codec->traits().linear);
  std::vector<std::int64_t> levels(200);
  std::vector<float> added(200);
  for (std::uint64_t client = 0; client < 6; ++client) {
    const auto encoded = EncodeValues(
        *codec, testing::NormalValues(1000, RngStream(7).Child("client", client)), RngStream(8));
    CHECK(encoded.payload.size() == 200);
    const auto parsed = testing::Get(codec->Parse(encoded.payload, encoded.parameters, {}));
    cells.DecodeAddIntegers(*parsed, 0, levels);
    cells.DecodeAdd(*parsed, 0, 1.0F, added);
  }
  std::vector<float> finished(200);
  cells.Finish(levels, 6, {codec->InitialParameters()}, 0, finished);
  for (std::size_t i = 0; i < 200; ++i)
    CHECK(finished[i] == doctest::Approx(added[i]).epsilon(1e-5).scale(1));
}

TEST_CASE("Sketch: its bytes are those of its cells, and no others are taken") {
  const auto codec = MakeCodec("sketch 3x8", {60});
  const auto encoded = EncodeValues(*codec, testing::NormalValues(60, RngStream(9)), RngStream(1));
  CHECK(encoded.payload.size() == 96);
  CHECK(codec->EncodedBytesMax() == 96);
  CHECK(MakeCodec("sketch 5x2000 | fp16", {100000})->EncodedBytesMax() == 20000);
  Bytes longer = encoded.payload;
  longer.emplace_back();
  CHECK(testing::CodeOf(codec->Parse(longer, {}, {})) == ErrorCode::kMalformed);
  CHECK(testing::CodeOf(codec->Parse(ByteSpan(longer).first(95), {}, {})) == ErrorCode::kMalformed);
  ByteWriter infinite;
  for (int i = 0; i < 24; ++i) infinite.Write(i == 20 ? INFINITY : 1.0F);
  CHECK(testing::CodeOf(codec->Parse(infinite.bytes(), {}, {})) == ErrorCode::kNotFinite);
  CHECK(testing::CodeOf(codec->Parse(encoded.payload, {}, {.magnitude_max = 0.01F})) ==
        ErrorCode::kLimitExceeded);
}

TEST_CASE("Sketch: another seed is another sketch") {
  const std::vector<float> values = testing::NormalValues(60, RngStream(9));
  const auto payload = [&](std::string_view recipe) {
    return EncodeValues(*MakeCodec(recipe, {60}), values, RngStream(1)).payload;
  };
  CHECK(payload("sketch 3x8") == payload("sketch 3x8 seed=1"));
  CHECK(payload("sketch 3x8") != payload("sketch 3x8 seed=2"));
}

}  // namespace
}  // namespace fl
