#include "fl/compression/entropy/level_code.h"

#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

#include "fl/compression/entropy/plain_levels.h"
#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

constexpr LevelCode kCodes[] = {LevelCode::kPack, LevelCode::kRice, LevelCode::kRans,
                                LevelCode::kContext};

// Levels that are zero but for a share, of magnitudes up to max.
std::vector<std::int32_t> SomeLevels(const LevelSpace& space, double share, RngStream rng) {
  std::vector<std::int32_t> levels(space.count);
  for (std::int32_t& level : levels) {
    if (rng.UniformDouble() >= share) continue;
    level = static_cast<std::int32_t>(1 + rng.UniformInteger(1 + rng.UniformInteger(space.max)));
    if (rng.NextU32() % 2 == 0) level = -level;
  }
  return levels;
}

class VectorSink final : public LevelSink {
 public:
  explicit VectorSink(std::size_t count) : levels(count) {}
  void Put(std::size_t index, std::int32_t level) override { levels[index] = level; }
  std::vector<std::int32_t> levels;
};

Bytes Write(LevelCode code, const std::vector<std::int32_t>& levels, const LevelSpace& space) {
  ByteWriter out;
  WriteLevels(code, levels, space, out);
  return std::move(out).Take();
}

TEST_CASE("WriteLevels: levels come back whole and by ranges") {
  testing::ForAll(40, [](RngStream& rng) {
    const LevelSpace space{.count = 1 + rng.UniformInteger(5000),
                           .columns = 1 + rng.UniformInteger(300),
                           .max = static_cast<std::uint32_t>(1 + rng.UniformInteger(40))};
    const auto levels = SomeLevels(space, rng.UniformDouble() * rng.UniformDouble(), rng);
    for (const LevelCode code : kCodes) {
      const Bytes bytes = Write(code, levels, space);
      CHECK(bytes.size() <= LevelBytesMax(space));
      const auto parsed = testing::Get(ParsedLevels::Parse(code, bytes, space));
      VectorSink whole(space.count);
      parsed.Read(0, space.count, whole);
      CHECK(whole.levels == levels);
      VectorSink range(space.count);
      const std::size_t first = rng.UniformInteger(space.count);
      const std::size_t count = rng.UniformInteger(space.count - first + 1);
      parsed.Read(first, count, range);
      for (std::size_t i = 0; i < space.count; ++i)
        CHECK(range.levels[i] == (i - first < count ? levels[i] : 0));
    }
  });
}

TEST_CASE("WriteLevels: large arrays have parts and come back from the middle") {
  for (const double share : {0.9, 0.02, 0.0005}) {
    CAPTURE(share);
    const LevelSpace space{.count = 3 * 65536 + 777, .columns = 100, .max = 3};
    const auto levels = SomeLevels(space, share, RngStream(4));
    for (const LevelCode code : kCodes) {
      const auto bytes = Write(code, levels, space);
      const auto parsed = testing::Get(ParsedLevels::Parse(code, bytes, space));
      VectorSink middle(space.count);
      parsed.Read(100000, 70000, middle);
      CHECK(std::equal(levels.begin() + 100000, levels.begin() + 170000,
                       middle.levels.begin() + 100000));
      CHECK(std::ranges::count(middle.levels, 0) >=
            static_cast<std::ptrdiff_t>(space.count - 70000));
    }
  }
}

TEST_CASE("WriteLevels: levels that no code shortens go plainly") {
  const LevelSpace space{.count = 140000, .columns = 50, .max = 1};
  RngStream rng(5);
  std::vector<std::int32_t> levels(space.count);
  for (std::int32_t& level : levels) level = static_cast<std::int32_t>(rng.UniformInteger(3)) - 1;
  for (const LevelCode code : kCodes) {
    const Bytes bytes = Write(code, levels, space);
    CHECK(bytes.size() <= PlainBytes(space.count, 1) + 8);
    VectorSink sink(space.count);
    testing::Get(ParsedLevels::Parse(code, bytes, space)).Read(0, space.count, sink);
    CHECK(sink.levels == levels);
  }
}

TEST_CASE("ParsedLevels: what it accepts stays below the bound and other bytes are refused") {
  testing::ForAll(2000, [](RngStream& rng) {
    const LevelSpace space{.count = 20, .columns = 5, .max = 3};
    const auto levels = SomeLevels(space, 0.3, rng);
    ByteWriter out;
    ArraySource source(levels);
    WriteSmallest(source, space, out);
    Bytes bytes = std::move(out).Take();
    if (bytes.empty()) return;
    bytes[rng.UniformInteger(bytes.size())] ^= static_cast<std::byte>(1 + rng.UniformInteger(255));
    const auto parsed = ParsedLevels::ParseTagged(bytes, space);
    if (!parsed) return;
    CHECK(bytes.size() <= LevelBytesMax(space) + 1);
    VectorSink sink(space.count);
    parsed->Read(0, space.count, sink);
    CHECK(std::ranges::any_of(sink.levels, [](std::int32_t level) { return level != 0; }));
    CHECK(std::ranges::all_of(sink.levels,
                              [](std::int32_t level) { return level >= -3 && level <= 3; }));
  });
}

TEST_CASE("ParsedLevels: each kind of malformed bytes has an error") {
  const LevelSpace small{.count = 20, .columns = 5, .max = 3};
  const auto refused = [&](LevelCode code, Bytes bytes, const LevelSpace& space) {
    return testing::CodeOf(ParsedLevels::Parse(code, bytes, space)) == ErrorCode::kMalformed;
  };
  CHECK(refused(LevelCode::kPack, Bytes(7), small));
  CHECK(refused(LevelCode::kPack, Bytes(8, std::byte{0xFF}), small));
  CHECK(refused(LevelCode::kContext, Bytes{std::byte{90}}, small));
  CHECK(refused(LevelCode::kRice, Bytes{std::byte{90}, std::byte{21}}, small));
  CHECK(refused(LevelCode::kRice, Bytes{std::byte{90}, std::byte{0}}, small));
  const Bytes tag{std::byte{9}, std::byte{90}};
  CHECK(testing::CodeOf(ParsedLevels::ParseTagged(tag, small)) == ErrorCode::kMalformed);
  CHECK(testing::CodeOf(ParsedLevels::ParseTagged(Bytes(1), small)) == ErrorCode::kMalformed);
  const LevelSpace large{.count = 200000, .columns = 50, .max = 3};
  Bytes bytes = Write(LevelCode::kRice, SomeLevels(large, 0.1, RngStream(6)), large);
  Bytes flagged = bytes;
  flagged[0] |= std::byte{128};
  CHECK(refused(LevelCode::kRice, flagged, large));
  CHECK(refused(LevelCode::kRice, Bytes(bytes.begin(), bytes.begin() + 2), large));
  bytes.push_back(std::byte{0});
  CHECK(refused(LevelCode::kRice, bytes, large));
}

// In two pieces, the first of that many levels.
void WritePlain(const std::vector<std::int32_t>& levels, std::uint32_t max, std::size_t first,
                ByteWriter& out) {
  const std::vector<std::int16_t> narrow(levels.begin(), levels.end());
  PlainWriter writer(max, out);
  writer.Write(std::span(narrow).first(first));
  writer.Write(std::span(narrow).subspan(first));
  writer.Finish();
}

TEST_CASE("PlainWriter: levels of any range come back and any other byte is refused") {
  testing::ForAll(60, [](RngStream& rng) {
    const LevelSpace space{
        .count = 1 + rng.UniformInteger(60),
        .columns = 1,
        .max = static_cast<std::uint32_t>(1 + rng.UniformInteger(1U << rng.UniformInteger(15)))};
    const auto levels = SomeLevels(space, 0.7, rng);
    ByteWriter out;
    WritePlain(levels, space.max, rng.UniformInteger(space.count + 1), out);
    CHECK(out.size() == PlainBytes(space.count, space.max));
    CHECK(testing::CodeOf(CheckPlain(out.bytes(), space.count, space.max)) == ErrorCode::kOk);
    VectorSink sink(space.count);
    ReadPlain(out.bytes(), space.max, 0, space.count, 0, sink);
    CHECK(sink.levels == levels);
    const std::size_t at = rng.UniformInteger(out.size());
    out.bytes()[at] ^= static_cast<std::byte>(1U << rng.UniformInteger(8));
    if (!CheckPlain(out.bytes(), space.count, space.max)) return;
    VectorSink other(space.count);
    ReadPlain(out.bytes(), space.max, 0, space.count, 0, other);
    ByteWriter again;
    WritePlain(other.levels, space.max, 0, again);
    CHECK(again.bytes() == out.bytes());
  });
}

}  // namespace
}  // namespace fl
