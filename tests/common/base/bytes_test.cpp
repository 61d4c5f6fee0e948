#include "fl/common/base/bytes.h"

#include <limits>

#include <doctest/doctest.h>

#include "fl/common/base/digest.h"
#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl::testing {
namespace {

ErrorCode VarintCode(std::string_view hex) {
  const Bytes bytes = Get(FromHex(hex));
  ByteReader reader(bytes);
  const auto value = reader.ReadVarint();
  if (!value) CHECK(reader.position() == 0);
  return CodeOf(value);
}

}  // namespace

TEST_CASE("ByteWriter: words are little-endian") {
  ByteWriter writer;
  writer.Write<std::uint16_t>(0x0102);
  writer.Write<std::uint32_t>(0x03040506);
  writer.Write<float>(1.0F);
  writer.WriteSpan(AsBytes("hi"));
  CHECK(writer.size() == 12);
  CHECK(ToHex(std::move(writer).Take()) == "0201060504030000803f6869");
}

TEST_CASE("ByteReader: a word that is cut short is malformed and stays unread") {
  const Bytes bytes = Get(FromHex("010203"));
  ByteReader reader(bytes);
  CHECK(CodeOf(reader.Read<std::uint32_t>()) == ErrorCode::kMalformed);
  CHECK(reader.position() == 0);
  CHECK(Get(reader.Read<std::uint16_t>()) == 0x0201);
  CHECK(CodeOf(reader.ExpectEnd()) == ErrorCode::kMalformed);
  CHECK(CodeOf(reader.ReadSpan(2)) == ErrorCode::kMalformed);
  CHECK(CodeOf(reader.ReadSpan(std::numeric_limits<std::size_t>::max())) == ErrorCode::kMalformed);
  CHECK(Get(reader.ReadSpan(1)).size() == 1);
  CHECK(reader.ExpectEnd());
}

TEST_CASE("Varint: its bytes are golden at each length") {
  const auto hex = [](std::uint64_t value) {
    ByteWriter writer;
    writer.WriteVarint(value);
    CHECK(writer.size() == VarintSize(value));
    return ToHex(writer.bytes());
  };
  CHECK(hex(0) == "00");
  CHECK(hex(127) == "7f");
  CHECK(hex(128) == "8001");
  CHECK(hex(16383) == "ff7f");
  CHECK(hex(16384) == "808001");
  CHECK(hex(std::numeric_limits<std::uint64_t>::max()) == "ffffffffffffffffff01");
}

TEST_CASE("Varint: what was written is read") {
  ForAll(200, [](RngStream& rng) {
    const std::uint64_t value = rng.NextU64() >> rng.UniformInteger(64);
    ByteWriter writer;
    writer.WriteVarint(value);
    ByteReader reader(writer.bytes());
    CHECK(Get(reader.ReadVarint()) == value);
    CHECK(reader.ExpectEnd());
  });
}

TEST_CASE("Varint: long forms and values beyond 64 bits and cuts are malformed") {
  CHECK(VarintCode("8000") == ErrorCode::kMalformed);
  CHECK(VarintCode("ff00") == ErrorCode::kMalformed);
  CHECK(VarintCode("ffffffffffffffffff02") == ErrorCode::kMalformed);
  CHECK(VarintCode("ffffffffffffffffff8100") == ErrorCode::kMalformed);
  CHECK(VarintCode("ff") == ErrorCode::kMalformed);
  CHECK(VarintCode("") == ErrorCode::kMalformed);
  CHECK(VarintCode("ffffffffffffffffff01") == ErrorCode::kOk);
}

TEST_CASE("Crc32: gives the known check value") {
  CHECK(Crc32(AsBytes("123456789")) == 0xCBF43926U);
  CHECK(Crc32({}) == 0);
}

TEST_CASE("Hex: only pairs of small digits are read") {
  CHECK(ToHex(Get(FromHex("00ff10"))) == "00ff10");
  CHECK(CodeOf(FromHex("0")) == ErrorCode::kMalformed);
  CHECK(CodeOf(FromHex("0G")) == ErrorCode::kMalformed);
  CHECK(CodeOf(FromHex("FF")) == ErrorCode::kMalformed);
}

TEST_CASE("Digest: its text is 64 digits and its prefix the first eight bytes") {
  const std::string text = "0102030405060708" + std::string(48, 'a');
  const Digest digest = Get(DigestFromHex(text));
  CHECK(digest.ToHex() == text);
  CHECK(digest.prefix() == 0x0807060504030201U);
  CHECK(CodeOf(DigestFromHex(text.substr(1))) == ErrorCode::kMalformed);
  CHECK(CodeOf(DigestFromHex(text + "0")) == ErrorCode::kMalformed);
  CHECK(CodeOf(DigestFromHex(std::string(64, 'g'))) == ErrorCode::kMalformed);
}

}  // namespace fl::testing
