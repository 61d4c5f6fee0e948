#include "fl/common/nn/onnx/internal/proto_wire.h"

#include <limits>

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"

namespace fl::onnx::internal {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;

Bytes Raw(std::initializer_list<unsigned> values) {
  Bytes bytes;
  for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

ErrorCode CodeOfNext(const Bytes& bytes) {
  ProtoReader reader(bytes);
  return CodeOf(reader.Next());
}

TEST_CASE("ProtoWriter: fields are read back as they were written") {
  ProtoWriter inner;
  inner.Number(7, 300);
  ProtoWriter writer;
  writer.Number(1, std::numeric_limits<std::uint64_t>::max());
  writer.Float(2, -1.5F);
  writer.Text(3, "abc");
  writer.Message(536870911, inner);
  ProtoReader reader(writer.bytes());
  CHECK(Get(reader.Next()).value == std::numeric_limits<std::uint64_t>::max());
  CHECK(Get(reader.Next()).value == 0xBFC00000U);
  CHECK(AsText(Get(reader.Next()).bytes) == "abc");
  const ProtoField message = Get(reader.Next());
  CHECK(message.number == 536870911);
  CHECK(Get(ProtoReader(message.bytes).Next()).value == 300);
  CHECK(reader.done());
}

TEST_CASE("ProtoReader: bytes as the format's documentation gives them") {
  const Bytes bytes = Raw({0x08, 0x96, 0x01, 0x22, 0x06, 0x03, 0x8E, 0x02, 0x9E, 0xA7, 0x05});
  ProtoReader reader(bytes);
  CHECK(Get(reader.Next()).value == 150);
  const ProtoField packed = Get(reader.Next());
  CHECK(packed.number == 4);
  ProtoReader values(packed.bytes);
  CHECK(Get(values.NextVarint()) == 3);
  CHECK(Get(values.NextVarint()) == 270);
  CHECK(Get(values.NextVarint()) == 86942);
  CHECK(values.done());
}

TEST_CASE("ProtoReader: what breaks off, overflows or is no field is malformed") {
  CHECK(CodeOfNext(Raw({})) == ErrorCode::kMalformed);
  CHECK(CodeOfNext(Raw({0x08})) == ErrorCode::kMalformed);
  CHECK(CodeOfNext(Raw({0x08, 0x80})) == ErrorCode::kMalformed);
  CHECK(CodeOfNext(Raw({0x0D, 1, 2, 3})) == ErrorCode::kMalformed);
  CHECK(CodeOfNext(Raw({0x09, 1, 2, 3, 4, 5, 6, 7})) == ErrorCode::kMalformed);
  // A length of one byte more than there is, and one of 2^63.
  CHECK(CodeOfNext(Raw({0x0A, 2, 1, 1})) == ErrorCode::kOk);
  CHECK(CodeOfNext(Raw({0x0A, 3, 1, 1})) == ErrorCode::kMalformed);
  CHECK(CodeOfNext(Raw({0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F})) ==
        ErrorCode::kMalformed);
  // 64 bits and one more.
  CHECK(CodeOfNext(Raw({0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01})) ==
        ErrorCode::kOk);
  CHECK(CodeOfNext(Raw({0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02})) ==
        ErrorCode::kMalformed);
  // Field 0, groups, wire type 7.
  CHECK(CodeOfNext(Raw({0x00, 0x01})) == ErrorCode::kMalformed);
  CHECK(CodeOfNext(Raw({0x0B})) == ErrorCode::kMalformed);
  CHECK(CodeOfNext(Raw({0x0C})) == ErrorCode::kMalformed);
  CHECK(CodeOfNext(Raw({0x0F, 1})) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace fl::onnx::internal
