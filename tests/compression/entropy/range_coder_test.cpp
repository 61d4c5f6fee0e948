#include "fl/compression/entropy/range_coder.h"

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

std::vector<bool> RandomBits(std::size_t count, double chance, RngStream& rng) {
  std::vector<bool> bits(count);
  for (std::size_t i = 0; i < count; ++i) bits[i] = rng.UniformDouble() < chance;
  return bits;
}

Bytes EncodeBits(const std::vector<bool>& bits) {
  ByteWriter out;
  RangeEncoder encoder(out);
  AdaptiveBit model;
  for (const bool bit : bits) encoder.Encode(model, bit);
  encoder.Finish();
  return std::move(out).Take();
}

// A message of several kinds of symbols, drawn from the seed, that a decoder can follow.
constexpr unsigned kKinds = 4;
struct Models {
  AdaptiveBit bit;
  AdaptiveNumber number;
  AdaptiveLevel level;
};
Bytes EncodeMixed(std::span<const std::uint32_t> values) {
  ByteWriter out;
  RangeEncoder encoder(out);
  Models models;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint32_t value = values[i];
    switch (i % kKinds) {
      case 0:
        encoder.Encode(models.bit, value % 8 == 0);
        break;
      case 1:
        encoder.EncodeUniform(value & 0x1FFFFF, 21);
        break;
      case 2:
        models.number.Encode(encoder, value % 301, 300);
        break;
      default:
        models.level.Encode(encoder, static_cast<std::int32_t>(value % 41) - 20, 20);
    }
  }
  encoder.Finish();
  return std::move(out).Take();
}
// The values as they are read, encoded again; or what Finish said.
Result<Bytes> Reencode(ByteSpan bytes, std::size_t count) {
  RangeDecoder decoder(bytes);
  Models models;
  std::vector<std::uint32_t> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    switch (i % kKinds) {
      case 0:
        values[i] = decoder.Decode(models.bit) ? 0 : 1;
        break;
      case 1:
        values[i] = decoder.DecodeUniform(21);
        break;
      case 2:
        values[i] = models.number.Decode(decoder, 300);
        break;
      default:
        values[i] = static_cast<std::uint32_t>(models.level.Decode(decoder, 20) + 20);
    }
  }
  FL_TRY_OK(decoder.Finish());
  return EncodeMixed(values);
}
std::vector<std::uint32_t> RandomValues(std::size_t count, RngStream& rng) {
  std::vector<std::uint32_t> values(count);
  for (std::uint32_t& value : values) value = rng.NextU32() >> rng.UniformInteger(32);
  return values;
}

TEST_CASE("RangeEncoder: bits of any chance come back") {
  testing::ForAll(40, [](RngStream& rng) {
    const auto bits = RandomBits(rng.UniformInteger(3000), std::pow(rng.UniformDouble(), 4), rng);
    const Bytes bytes = EncodeBits(bits);
    RangeDecoder decoder(bytes);
    AdaptiveBit model;
    for (const bool bit : bits) CHECK(decoder.Decode(model) == bit);
    CHECK(testing::CodeOf(decoder.Finish()) == ErrorCode::kOk);
  });
}

TEST_CASE("RangeEncoder: numbers and levels come back and encode to the same bytes") {
  testing::ForAll(60, [](RngStream& rng) {
    const auto values = RandomValues(rng.UniformInteger(400), rng);
    const Bytes bytes = EncodeMixed(values);
    CHECK(testing::Get(Reencode(bytes, values.size())) == bytes);
  });
}

TEST_CASE("RangeEncoder: a carry runs through digits that are all ones") {
  // With a chance of nearly one the zeros take almost nothing, so that low nears the interval's
  // end.
  for (std::size_t zeros = 0; zeros < 4; ++zeros) {
    std::vector<bool> bits(4000, true);
    for (std::size_t i = 0; i < zeros; ++i) bits[1000 * i + 999] = false;
    const Bytes bytes = EncodeBits(bits);
    RangeDecoder decoder(bytes);
    AdaptiveBit model;
    for (const bool bit : bits) CHECK(decoder.Decode(model) == bit);
    CHECK(testing::CodeOf(decoder.Finish()) == ErrorCode::kOk);
  }
}

TEST_CASE("RangeEncoder: it appends to what is there and leaves that alone") {
  testing::ForAll(20, [](RngStream& rng) {
    ByteWriter out;
    out.Write(std::uint32_t{0});
    RangeEncoder encoder(out);
    AdaptiveBit model;
    const auto bits = RandomBits(200, 0.9, rng);
    for (const bool bit : bits) encoder.Encode(model, bit);
    encoder.Finish();
    CHECK(ToHex(ByteSpan(out.bytes()).first(4)) == "00000000");
    CHECK(ByteSpan(out.bytes()).size() - 4 == EncodeBits(bits).size());
  });
}

TEST_CASE("RangeEncoder: no symbol and zeros alone take no bytes") {
  CHECK(EncodeBits({}).empty());
  CHECK(EncodeBits(std::vector<bool>(5000, false)).empty());
  CHECK(EncodeBits(std::vector<bool>(5000, true)).size() <= 3);
}

TEST_CASE("RangeEncoder: uniform bits take their bits and at most a byte more") {
  ByteWriter out;
  RangeEncoder encoder(out);
  RngStream rng(3);
  std::vector<std::uint32_t> values(1000);
  for (std::uint32_t& value : values) encoder.EncodeUniform(value = rng.NextU32(), 32);
  encoder.Finish();
  CHECK(out.size() <= 4000 + 8);
  RangeDecoder decoder(out.bytes());
  for (const std::uint32_t value : values) CHECK(decoder.DecodeUniform(32) == value);
  CHECK(testing::CodeOf(decoder.Finish()) == ErrorCode::kOk);
}

TEST_CASE("RangeEncoder: bits of one chance take their entropy and what learning it costs") {
  for (const double chance : {0.5, 0.1, 0.02, 0.004}) {
    CAPTURE(chance);
    for (const std::size_t count : {300UL, 65536UL}) {
      RngStream rng(7);
      const auto bits = RandomBits(count, chance, rng);
      std::size_t ones = 0;
      for (const bool bit : bits) ones += bit ? 1 : 0;
      const auto n = static_cast<double>(count);
      const auto k = static_cast<double>(ones);
      const double ideal = ones == 0 ? 0 : -k * std::log2(k / n) - (n - k) * std::log2(1 - k / n);
      const double taken = static_cast<double>(EncodeBits(bits).size()) * 8;
      CHECK(taken <= ideal * 1.01 + 0.5 * std::log2(n) + 12);
    }
  }
}

TEST_CASE("RangeDecoder: a code with more digits than it needs is refused") {
  testing::ForAll(30, [](RngStream& rng) {
    const auto values = RandomValues(40, rng);
    Bytes bytes = EncodeMixed(values);
    bytes.push_back(std::byte{0});
    CHECK(testing::CodeOf(Reencode(bytes, values.size())) == ErrorCode::kMalformed);
    bytes.resize(bytes.size() + 5, std::byte{0xA5});
    CHECK(testing::CodeOf(Reencode(bytes, values.size())) == ErrorCode::kMalformed);
  });
}

TEST_CASE("RangeDecoder: whatever bytes it accepts are those that the encoder writes") {
  std::size_t accepted = 0;
  testing::ForAll(4000, [&](RngStream& rng) {
    Bytes bytes(rng.UniformInteger(8));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.NextU32());
    const std::size_t count = rng.UniformInteger(12);
    const auto again = Reencode(bytes, count);
    if (!again) return;
    ++accepted;
    CHECK(*again == bytes);
  });
  CHECK(accepted > 20);
}

TEST_CASE("RangeDecoder: the number past the first interval is refused") {
  const Bytes ones(4, std::byte{0xFF});
  RangeDecoder decoder(ones);
  CHECK(testing::CodeOf(decoder.Finish()) == ErrorCode::kMalformed);
}

TEST_CASE("AdaptiveNumber: values up to its maximum come back for any maximum") {
  for (const std::uint32_t max : {0U, 1U, 13U, 14U, 15U, 16U, 127U, 1000000U, 0x7FFFFFFFU}) {
    CAPTURE(max);
    const std::vector<std::uint32_t> values = {0, max, max / 2, max / 3, std::min(max, 14U)};
    ByteWriter out;
    RangeEncoder encoder(out);
    AdaptiveNumber number;
    for (const std::uint32_t value : values) number.Encode(encoder, value, max);
    encoder.Finish();
    RangeDecoder decoder(out.bytes());
    AdaptiveNumber same;
    for (const std::uint32_t value : values) CHECK(same.Decode(decoder, max) == value);
    CHECK(testing::CodeOf(decoder.Finish()) == ErrorCode::kOk);
  }
}

TEST_CASE("AdaptiveNumber: a value above the maximum is refused") {
  ByteWriter out;
  RangeEncoder encoder(out);
  AdaptiveNumber number;
  number.Encode(encoder, 21, 21);
  encoder.Finish();
  RangeDecoder decoder(out.bytes());
  AdaptiveNumber same;
  CHECK(same.Decode(decoder, 18) <= 18);
  CHECK(testing::CodeOf(decoder.Finish()) == ErrorCode::kMalformed);
}

TEST_CASE("AdaptiveLevel: levels up to the maximum come back for any maximum") {
  for (const std::int32_t max : {0, 1, 2, 20, 100000}) {
    ByteWriter out;
    RangeEncoder encoder(out);
    AdaptiveLevel model;
    const std::vector<std::int32_t> levels = {0, max, -max, max / 2, -(max / 3), 0};
    for (const std::int32_t level : levels)
      model.Encode(encoder, level, static_cast<std::uint32_t>(max));
    encoder.Finish();
    RangeDecoder decoder(out.bytes());
    AdaptiveLevel same;
    for (const std::int32_t level : levels)
      CHECK(same.Decode(decoder, static_cast<std::uint32_t>(max)) == level);
    CHECK(testing::CodeOf(decoder.Finish()) == ErrorCode::kOk);
  }
}

}  // namespace
}  // namespace fl
