#include "fl/compression/entropy/trit_levels.h"

#include <vector>

#include <doctest/doctest.h>

#include "fl/compression/entropy/level_code.h"
#include "fl/tests/compression/codec_builder.h"
#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

class VectorSink final : public LevelSink {
 public:
  explicit VectorSink(std::size_t count) : levels(count) {}
  void Put(std::size_t index, std::int32_t level) override {
    levels[index] = static_cast<std::int16_t>(level);
  }
  std::vector<std::int16_t> levels;
};

Bytes Write(std::span<const std::int16_t> levels) {
  ByteWriter out;
  WriteTritLevels(levels, out);
  return std::move(out).Take();
}

std::vector<std::int16_t> SomeTrits(std::size_t count, double share, RngStream& rng) {
  std::vector<std::int16_t> levels(count);
  for (std::int16_t& level : levels) {
    if (rng.UniformDouble() < share) level = rng.NextU32() % 2 == 0 ? 1 : -1;
  }
  return levels;
}

Bytes Raw(std::initializer_list<unsigned> values) {
  Bytes bytes;
  for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

TEST_CASE("WriteTritLevels: levels come back, and from the middle, in at most a byte for five") {
  testing::ForAll(60, [](RngStream& rng) {
    const auto levels =
        SomeTrits(rng.UniformInteger(3000), rng.UniformDouble() * rng.UniformDouble(), rng);
    const Bytes bytes = Write(levels);
    CHECK(bytes.size() <= (levels.size() + 4) / 5);
    VectorSink sink(levels.size());
    REQUIRE(DecodeTritLevels(bytes, levels.size(), 0, sink).has_value());
    CHECK(sink.levels == levels);
    const std::size_t stop = rng.UniformInteger(levels.size() + 1);
    VectorSink begin(levels.size());
    ReadTritLevels(bytes, levels.size(), stop, 0, begin);
    CHECK(std::equal(levels.begin(), levels.begin() + static_cast<std::ptrdiff_t>(stop),
                     begin.levels.begin()));
  });
}

TEST_CASE("WriteTritLevels: runs of zeros take one byte for up to 70 levels") {
  std::vector<std::int16_t> levels(5 * 17);
  CHECK(Write(levels) == Raw({255, 244}));
  levels.back() = -1;  // Sixteen fives of zeros, then 0 0 0 0 -1.
  CHECK(Write(levels) == Raw({255, 243, 121 - 81}));
  CHECK(Write(std::span(levels).first(5)) == Raw({121}));
  CHECK(Write(std::span(levels).first(73)) == Raw({255, 121}));
}

TEST_CASE("DecodeTritLevels: refuses all that WriteTritLevels does not write") {
  VectorSink sink(90);
  const auto refuses = [&](const Bytes& bytes, std::size_t count) {
    const auto decoded = DecodeTritLevels(bytes, count, 0, sink);
    return !decoded && decoded.error().code == ErrorCode::kMalformed;
  };
  CHECK(refuses(Raw({121, 121}), 10));  // Two fives of zeros are 243.
  CHECK(refuses(Raw({243, 121}), 15));  // Three are 244.
  CHECK(refuses(Raw({121, 255}), 75));  // The long run comes first.
  CHECK(refuses(Raw({243}), 5));        // More than there are.
  CHECK(refuses(Raw({121, 0}), 5));     // Trailing bytes.
  CHECK(refuses(Raw({122}), 10));       // Fewer.
  CHECK(refuses({}, 1));
  CHECK(refuses(Raw({121 + 81}), 4));  // A level behind the last.
  CHECK(!refuses(Raw({121 + 27}), 4));
}

TEST_CASE("trits: a recipe after ternary and after two bits, and after nothing else") {
  for (const std::string_view recipe :
       {"top_k 1% | ternary | trits", "top_k 40% | ternary | trits", "quantize 2 | trits"}) {
    const auto codec = testing::MakeCodec(recipe, {300, 450});
    const auto values = testing::NormalValues(codec->count(), RngStream(3));
    const auto encoded = testing::EncodeValues(*codec, values, RngStream(4));
    CHECK(encoded.payload.size() <= codec->EncodedBytesMax());
    CHECK(encoded.payload.size() <= codec->count() / 5 + 8);
    CHECK(testing::DecodeAll(*codec, encoded) == encoded.decoded);
  }
  for (const std::string_view recipe :
       {"dead_zone 2 | trits", "quantize 3 | trits", "quantize step=1 | trits"}) {
    const auto refused = BuildCodec(testing::Get(ParseRecipe(recipe)), {10, 10});
    REQUIRE(!refused.has_value());
    CHECK(refused.error().message.find("three levels") != std::string::npos);
  }
}

}  // namespace
}  // namespace fl
