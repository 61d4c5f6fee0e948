#include "fl/compression/entropy/rans_levels.h"

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "fl/compression/entropy/density_levels.h"
#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

constexpr std::uint32_t kMax = 32767;

std::vector<std::int16_t> NormalLevels(std::size_t count, double step, RngStream rng) {
  std::vector<std::int16_t> levels(count);
  for (std::int16_t& level : levels)
    level = static_cast<std::int16_t>(std::lround(static_cast<double>(rng.Normal()) / step));
  return levels;
}

RansCounts Count(std::span<const std::int16_t> levels) {
  RansCounter counter;
  counter.Add(levels);
  return counter.counts();
}

double EntropyBytes(const RansCounts& counts) {
  double total = 0;
  for (const std::uint64_t count : counts) total += static_cast<double>(count);
  double bits = 0;
  for (const std::uint64_t count : counts) {
    if (count == 0) continue;
    bits -= static_cast<double>(count) * std::log2(static_cast<double>(count) / total);
  }
  return bits / 8;
}

class VectorSink final : public LevelSink {
 public:
  explicit VectorSink(std::size_t count) : levels(count) {}
  void Put(std::size_t index, std::int32_t level) override {
    levels.at(index) = static_cast<std::int16_t>(level);
  }
  std::vector<std::int16_t> levels;
};

Bytes TableBytes(const RansTable& table) {
  ByteWriter out;
  table.Write(out);
  return std::move(out).Take();
}

TEST_CASE("RansTable: levels of any kind come back and so does the table") {
  testing::ForAll(60, [](RngStream& rng) {
    auto levels = NormalLevels(1 + rng.UniformInteger(2000), 0.01 + rng.UniformDouble() * 3, rng);
    if (rng.NextU32() % 4 == 0) levels[rng.UniformInteger(levels.size())] = -32767;
    if (rng.NextU32() % 4 == 0) levels[rng.UniformInteger(levels.size())] = 128;
    const RansTable table = RansTable::Of(Count(levels), kMax);
    CHECK(testing::Get(RansTable::Read(TableBytes(table), kMax)) == table);
    ByteWriter out;
    RansEncoder(table).Encode(levels, out);
    VectorSink sink(levels.size());
    REQUIRE(testing::CodeOf(table.Decode(out.bytes(), levels.size(), 0, sink)) == ErrorCode::kOk);
    CHECK(sink.levels == levels);
  });
}

TEST_CASE("RansEncoder: long parts of any levels come back, and its division is exact") {
  testing::ForAll(8, [](RngStream& rng) {
    const std::size_t count = 32767 + rng.UniformInteger(5);  // One state, or four.
    auto levels = NormalLevels(count, 0.004 + rng.UniformDouble() * rng.UniformDouble(), rng);
    if (rng.NextU32() % 2 == 0) {  // Symbols of one slot beside one of nearly all.
      for (std::int16_t& level : levels) level = level > 100 ? level : std::int16_t{0};
    }
    const RansTable table = RansTable::Of(Count(levels), kMax);
    ByteWriter out;
    RansEncoder(table).Encode(levels, out);
    VectorSink sink(levels.size());
    REQUIRE(testing::CodeOf(table.Decode(out.bytes(), levels.size(), 0, sink)) == ErrorCode::kOk);
    CHECK(sink.levels == levels);
  });
}

TEST_CASE("RansCounter: symbols are counted, and their activity is that of the levels") {
  const std::vector<std::int16_t> levels = {0, 3, 3, -3, 127, -128, 32767, 0, 0};
  const std::vector<std::int32_t> wide(levels.begin(), levels.end());
  RansCounter counter;
  CHECK(LargestOf(counter.counts()) == 0);
  counter.Add(std::span(levels).first(4));
  CHECK_FALSE(counter.has_larger());
  CHECK(LargestOf(counter.counts()) == 3);
  counter.Add(std::span(levels).subspan(4));
  counter.Add(wide);
  CHECK(counter.has_larger());
  CHECK(LargestOf(counter.counts()) == 127);
  const RansCounts counts = counter.counts();
  CHECK(counts[kRansLevelMax] == 6);
  CHECK(counts[kRansLevelMax + 3] == 4);
  CHECK(counts[kRansLevelMax - 3] == 2);
  CHECK(counts[2 * kRansLevelMax] == 2);
  CHECK(counts[2 * kRansLevelMax + 1] == 4);
  CHECK(ActivityOf(counts) == 2 * ActivityOf(levels));
}

TEST_CASE("RansTable: a part takes its entropy and half a percent more") {
  for (const double step : {2.8, 1.5, 0.5, 0.25, 0.1}) {
    CAPTURE(step);
    const auto levels = NormalLevels(65536, step, RngStream(1));
    const RansTable table = RansTable::Of(Count(levels), kMax);
    ByteWriter out;
    RansEncoder(table).Encode(levels, out);
    const Bytes head = TableBytes(table);
    CHECK(head.size() <= 40);
    CHECK(static_cast<double>(head.size() + out.size()) < EntropyBytes(Count(levels)) * 1.005);
  }
}

TEST_CASE("RansTable: one symbol alone takes the states only") {
  const std::vector<std::int16_t> levels(1000, -3);
  ByteWriter out;
  RansEncoder(RansTable::Of(Count(levels), 7)).Encode(levels, out);
  CHECK(out.size() == 4);
}

TEST_CASE("RansTable: parts that are cut or longer or changed are refused or are another code") {
  const auto levels = NormalLevels(300, 0.7, RngStream(2));
  const RansTable table = RansTable::Of(Count(levels), kMax);
  RansEncoder encoder(table);
  ByteWriter out;
  encoder.Encode(levels, out);
  const auto decode = [&](ByteSpan bytes) -> Result<std::vector<std::int16_t>> {
    VectorSink sink(levels.size());
    FL_TRY_OK(table.Decode(bytes, levels.size(), 0, sink));
    return sink.levels;
  };
  const Bytes bytes = std::move(out).Take();
  Bytes longer = bytes;
  longer.push_back(std::byte{0});
  CHECK(testing::CodeOf(decode(longer)) == ErrorCode::kMalformed);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    CHECK(testing::CodeOf(decode(ByteSpan(bytes).first(size))) == ErrorCode::kMalformed);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    Bytes changed = bytes;
    changed[at] ^= std::byte{0x20};
    const auto other = decode(changed);
    if (!other) continue;
    ByteWriter again;
    encoder.Encode(*other, again);
    CHECK(again.bytes() == changed);
  }
}

TEST_CASE("RansTable: bytes that are no table are refused") {
  testing::ForAll(500, [](RngStream& rng) {
    Bytes bytes(rng.UniformInteger(6));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.NextU32());
    const auto table = RansTable::Read(bytes, 20);
    if (table) CHECK(TableBytes(*table) == bytes);
  });
  CHECK(testing::CodeOf(RansTable::Read({}, 20)) == ErrorCode::kMalformed);
  const std::vector<std::int16_t> levels = {0, 5, -5};
  const Bytes wide = TableBytes(RansTable::Of(Count(levels), 20));
  CHECK(testing::CodeOf(RansTable::Read(wide, 4)) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl
