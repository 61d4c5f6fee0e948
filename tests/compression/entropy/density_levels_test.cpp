#include "fl/compression/entropy/density_levels.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

struct Levels {
  std::vector<std::int32_t> values;
  std::size_t columns = 1;
  std::uint32_t max = 1;
};

// Rounded Laplace values, zero below 0.6; each row and column scaled by exp(spread * normal).
Levels LaplaceLevels(std::size_t rows, std::size_t columns, double step, double spread,
                     RngStream rng) {
  std::vector<double> scales(columns);
  for (double& scale : scales) scale = std::exp(spread * static_cast<double>(rng.Normal()));
  Levels levels{{}, columns, 1000};
  for (std::size_t row = 0; row < rows; ++row) {
    const double row_scale = std::exp(spread * static_cast<double>(rng.Normal()));
    for (const double scale : scales) {
      const double magnitude =
          -std::log(1 - rng.UniformDouble()) / std::sqrt(2.0) * row_scale * scale / step;
      const auto level = std::min<std::int32_t>(
          magnitude < 0.6 ? 0 : std::max(1, static_cast<std::int32_t>(std::lround(magnitude))),
          1000);
      levels.values.push_back(rng.NextU32() % 2 == 0 ? level : -level);
    }
  }
  return levels;
}

// Order-0 entropy of all levels, in bytes.
double EntropyBytes(std::span<const std::int32_t> levels) {
  std::map<std::int32_t, double> counts;
  for (const std::int32_t level : levels) ++counts[level];
  double bits = 0;
  for (const auto& [level, count] : counts)
    bits -= count * std::log2(count / static_cast<double>(levels.size()));
  return bits / 8;
}

Bytes Encode(const Levels& levels) {
  ByteWriter out;
  EncodeLevels(levels.values, levels.columns, levels.max, out);
  return std::move(out).Take();
}
Result<std::vector<std::int32_t>> Decode(ByteSpan bytes, const Levels& like) {
  std::vector<std::int32_t> values(like.values.size(), 77);
  FL_TRY_OK(DecodeLevels(bytes, like.columns, like.max, values));
  return values;
}

TEST_CASE("EncodeLevels: levels of any density and shape come back") {
  for (const double step : {0.05, 0.7, 2.0, 5.0, 9.0}) {
    for (const std::size_t columns : {1UL, 2UL, 7UL, 8UL, 9UL, 64UL, 1001UL}) {
      CAPTURE(step);
      CAPTURE(columns);
      const Levels levels = LaplaceLevels(3000 / columns, columns, step, 0.7, RngStream(columns));
      CHECK(testing::Get(Decode(Encode(levels), levels)) == levels.values);
    }
  }
}

TEST_CASE("EncodeLevels: zeros alone take no bytes") {
  const Levels levels{std::vector<std::int32_t>(5000, 0), 50, 3};
  CHECK(Encode(levels).empty());
  CHECK(testing::Get(Decode({}, levels)) == levels.values);
}

TEST_CASE("EncodeLevels: the largest levels come back") {
  const Levels levels{{0, 2147483647, -2147483647, 1, 0, 0, 16, -15}, 3, 2147483647};
  CHECK(testing::Get(Decode(Encode(levels), levels)) == levels.values);
}

TEST_CASE("EncodeLevels: levels without a pattern take their entropy and little more") {
  for (const double step : {0.5, 1.0, 2.5, 4.0}) {
    CAPTURE(step);
    const Levels levels = LaplaceLevels(512, 512, step, 0, RngStream(2));
    CHECK(static_cast<double>(Encode(levels).size()) < EntropyBytes(levels.values) * 1.01);
  }
}

TEST_CASE("EncodeLevels: a few hundred nonzeros take little more than their entropy") {
  const Levels levels = LaplaceLevels(784, 200, 6.0, 0, RngStream(3));
  CHECK(static_cast<double>(Encode(levels).size()) < EntropyBytes(levels.values) * 1.05);
}

TEST_CASE("EncodeLevels: busy rows and columns save a fifth and more") {
  for (const double step : {4.0, 12.0}) {
    CAPTURE(step);
    const Levels levels = LaplaceLevels(784, 200, step, 1, RngStream(4));
    CHECK(static_cast<double>(Encode(levels).size()) < EntropyBytes(levels.values) * 0.8);
  }
}

TEST_CASE("EncodeLevels: golden bytes") {
  const Levels dense{{3, -1, 0, 0, 2, 17, -4, 0, 0, 0, 1, 1}, 4, 30};
  CHECK(ToHex(Encode(dense)) == "64a0aebc15ea79e655");
  std::vector<std::int32_t> sparse(400, 0);
  for (const std::size_t at : {17UL, 99UL, 255UL, 256UL, 399UL}) sparse[at] = at % 2 == 0 ? 1 : -2;
  CHECK(ToHex(Encode({sparse, 20, 2})) == "49a591145a84ec8c");
}

TEST_CASE(
    "DecodeLevels: bytes that are cut or too long or changed are refused or are another code") {
  for (const double step : {0.7, 6.0}) {
    const Levels levels = LaplaceLevels(60, 20, step, 0.5, RngStream(5));
    const Bytes bytes = Encode(levels);
    Bytes longer = bytes;
    longer.push_back(std::byte{0});
    CHECK(testing::CodeOf(Decode(longer, levels)) == ErrorCode::kMalformed);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto cut = Decode(ByteSpan(bytes).first(size), levels);
      if (cut)
        CHECK(Encode({*cut, levels.columns, levels.max}) ==
              Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)));
    }
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      Bytes changed = bytes;
      changed[at] ^= std::byte{0x10};
      const auto other = Decode(changed, levels);
      if (other) CHECK(Encode({*other, levels.columns, levels.max}) == changed);
    }
  }
}

TEST_CASE("DecodeLevels: a wrong kind is refused") {
  const Levels levels = LaplaceLevels(60, 20, 1, 0.5, RngStream(6));
  Bytes bytes = Encode(levels);
  bytes[0] = std::byte{128};
  CHECK(testing::CodeOf(Decode(bytes, levels)) == ErrorCode::kMalformed);
  CHECK(testing::CodeOf(Decode(Bytes{std::byte{96}}, levels)) == ErrorCode::kMalformed);
  CHECK(testing::CodeOf(Decode(bytes, {{}, 20, 5})) == ErrorCode::kMalformed);
}

TEST_CASE("DecodeLevels: whatever bytes it accepts are those that EncodeLevels writes") {
  std::size_t accepted = 0;
  testing::ForAll(3000, [&](RngStream& rng) {
    Bytes bytes(1 + rng.UniformInteger(6));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.NextU32());
    bytes[0] = static_cast<std::byte>(70 + rng.UniformInteger(40));
    const Levels like{std::vector<std::int32_t>(12), 1 + rng.UniformInteger(12), 20};
    const auto levels = Decode(bytes, like);
    if (!levels) return;
    ++accepted;
    CHECK(Encode({*levels, like.columns, like.max}) == bytes);
  });
  CHECK(accepted > 20);
}

TEST_CASE("PartCoordinates: parts grow as levels become rare") {
  CHECK(PartCoordinates(127, 700) == 65536);
  CHECK(PartCoordinates(96, 700) == 65536);
  CHECK(PartCoordinates(LevelKind(10000, 1000000), 700) == 65536);
  CHECK(PartCoordinates(LevelKind(10000, 1000000), 1400) == 2 * 65536);
  CHECK(PartCoordinates(LevelKind(1000, 1000000), 700) > 65536 * 4);
  CHECK(PartCoordinates(0, 700) % 65536 == 0);
}

TEST_CASE("DecodePart: parts are read alone and their activities add up") {
  for (const double step : {3.0, 20.0}) {
    CAPTURE(step);
    const Levels levels = LaplaceLevels(300, 90, step, 0.8, RngStream(7));
    const LevelArray array{levels.columns, levels.max,
                           LevelKind(ActivityOf(levels.values), levels.values.size())};
    class Sink final : public LevelSink {
     public:
      explicit Sink(std::size_t count) : values(count) {}
      void Put(std::size_t index, std::int32_t level) override { values[index] = level; }
      std::vector<std::int32_t> values;
    } sink(levels.values.size());
    std::uint64_t activity = 0;
    for (std::size_t first = 0; first < levels.values.size(); first += 5000) {
      const auto part =
          std::span(levels.values)
              .subspan(first, std::min<std::size_t>(5000, levels.values.size() - first));
      ByteWriter out;
      EncodePart(part, first, array, out);
      activity += testing::Get(DecodePart(out.bytes(), first, part.size(), array, sink));
      Sink head(levels.values.size());
      DecodeAcceptedPart(out.bytes(), first, part.size(), 1003, array, head);
      for (std::size_t i = first; i < first + 1003; ++i) CHECK(head.values[i] == levels.values[i]);
    }
    CHECK(sink.values == levels.values);
    CHECK(activity == ActivityOf(levels.values));
  }
}

}  // namespace
}  // namespace fl
