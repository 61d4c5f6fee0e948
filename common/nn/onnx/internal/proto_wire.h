#pragma once

#include <cstdint>
#include <string_view>

#include "fl/common/base/bytes.h"

namespace fl::onnx::internal {

// How a field of protobuf's wire format is written
// (https://protobuf.dev/programming-guides/encoding). Groups (3 and 4) are not read.
enum class WireType : std::uint8_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

// One field: `value` of a number, `bytes` (in place) of a string, a message or a packed list.
struct ProtoField {
  std::uint32_t number = 0;
  WireType type = WireType::kVarint;
  std::uint64_t value = 0;
  ByteSpan bytes;

  // kMalformed when the field is not of this type.
  Result<> Expect(WireType expected) const;
};

// Walks over a message's fields, never past its end; nothing is allocated. A message inside is read
// with a reader of its own over the field's bytes, so that the caller bounds the nesting. Thread
// safety: distinct objects safe.
class ProtoReader {
 public:
  explicit ProtoReader(ByteSpan bytes) : reader_(bytes) {}

  bool done() const { return reader_.remaining() == 0; }
  // kMalformed: truncated, a length beyond the end, a varint of more than 64 bits, the number 0, a
  // group.
  Result<ProtoField> Next();
  // A number without a tag, as packed lists hold them.
  Result<std::uint64_t> NextVarint();
  template <typename T>
  Result<T> NextFixed() {
    return reader_.Read<T>();
  }

 private:
  ByteReader reader_;
};

// Appends a message's fields in the order of the calls.
class ProtoWriter {
 public:
  void Number(std::uint32_t field, std::uint64_t value);
  void Float(std::uint32_t field, float value);
  void Text(std::uint32_t field, std::string_view text) { Span(field, AsBytes(text)); }
  void Span(std::uint32_t field, ByteSpan bytes);
  void Message(std::uint32_t field, const ProtoWriter& message);

  ByteSpan bytes() const { return bytes_; }
  Bytes Take() && { return std::move(bytes_); }

 private:
  void Varint(std::uint64_t value);
  void Tag(std::uint32_t field, WireType type);

  Bytes bytes_;
};

}  // namespace fl::onnx::internal
