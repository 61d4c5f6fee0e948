#include "fl/compression/entropy/rans_levels.h"

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

constexpr std::uint32_t kMax = 32767;

std::vector<std::int32_t> NormalLevels(std::size_t count, double step, RngStream rng) {
  std::vector<std::int32_t> levels(count);
  for (std::int32_t& level : levels)
    level = static_cast<std::int32_t>(std::lround(static_cast<double>(rng.Normal()) / step));
  return levels;
}

RansCounts Count(std::span<const std::int32_t> levels) {
  RansCounts counts{};
  CountRansSymbols(levels, counts);
  return counts;
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
  void Put(std::size_t index, std::int32_t level) override { levels.at(index) = level; }
  std::vector<std::int32_t> levels;
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
    table.Encode(levels, out);
    VectorSink sink(levels.size());
    RansCounts counts{};
    REQUIRE(testing::CodeOf(table.Decode(out.bytes(), levels.size(), 0, counts, sink)) ==
            ErrorCode::kOk);
    CHECK(sink.levels == levels);
    CHECK(counts == Count(levels));
  });
}

TEST_CASE("RansTable: a part takes its entropy and half a percent more") {
  for (const double step : {2.8, 1.5, 0.5, 0.25, 0.1}) {
    CAPTURE(step);
    const auto levels = NormalLevels(65536, step, RngStream(1));
    const RansTable table = RansTable::Of(Count(levels), kMax);
    ByteWriter out;
    table.Encode(levels, out);
    const Bytes head = TableBytes(table);
    CHECK(head.size() <= 40);
    CHECK(static_cast<double>(head.size() + out.size()) < EntropyBytes(Count(levels)) * 1.005);
  }
}

TEST_CASE("RansTable: one symbol alone takes the states only") {
  const std::vector<std::int32_t> levels(1000, -3);
  ByteWriter out;
  RansTable::Of(Count(levels), 7).Encode(levels, out);
  CHECK(out.size() == 4);
}

TEST_CASE("RansTable: parts that are cut or longer or changed are refused or are another code") {
  const auto levels = NormalLevels(300, 0.7, RngStream(2));
  const RansTable table = RansTable::Of(Count(levels), kMax);
  ByteWriter out;
  table.Encode(levels, out);
  const auto decode = [&](ByteSpan bytes) -> Result<std::vector<std::int32_t>> {
    VectorSink sink(levels.size());
    RansCounts counts{};
    FL_TRY_OK(table.Decode(bytes, levels.size(), 0, counts, sink));
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
    table.Encode(*other, again);
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
  const std::vector<std::int32_t> levels = {0, 5, -5};
  const Bytes wide = TableBytes(RansTable::Of(Count(levels), 20));
  CHECK(testing::CodeOf(RansTable::Read(wide, 4)) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl
