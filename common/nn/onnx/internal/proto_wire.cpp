#include "fl/common/nn/onnx/internal/proto_wire.h"

#include <bit>

namespace fl::onnx::internal {
namespace {

constexpr unsigned kVarintBytesMax = 10;

Error Malformed(std::string message) {
  return {ErrorCode::kMalformed, "protobuf: " + std::move(message)};
}

}  // namespace

Result<> ProtoField::Expect(WireType expected) const {
  if (type == expected) return {};
  return Malformed("field " + std::to_string(number) + ": expected wire type " +
                   std::to_string(static_cast<unsigned>(expected)) + ", found " +
                   std::to_string(static_cast<unsigned>(type)));
}

Result<std::uint64_t> ProtoReader::NextVarint() {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < kVarintBytesMax; ++i) {
    FL_TRY(const std::uint8_t byte, reader_.Read<std::uint8_t>());
    // The tenth byte holds the last bit.
    if (i + 1 == kVarintBytesMax && byte > 1) break;
    value |= std::uint64_t{byte & 0x7FU} << (7 * i);
    if (byte < 0x80) return value;
  }
  return Malformed("expected a number of at most 64 bits");
}

Result<ProtoField> ProtoReader::Next() {
  FL_TRY(const std::uint64_t tag, NextVarint());
  ProtoField field;
  if (tag >> 3U == 0 || tag >> 32U != 0) {
    return Malformed("expected a field's number in [1, 2^29), found " + std::to_string(tag >> 3U));
  }
  field.number = static_cast<std::uint32_t>(tag >> 3U);
  field.type = static_cast<WireType>(tag & 7U);
  switch (field.type) {
    case WireType::kVarint: {
      FL_TRY(field.value, NextVarint());
      return field;
    }
    case WireType::kFixed64: {
      FL_TRY(field.value, reader_.Read<std::uint64_t>());
      return field;
    }
    case WireType::kFixed32: {
      FL_TRY(field.value, reader_.Read<std::uint32_t>());
      return field;
    }
    case WireType::kLength: {
      FL_TRY(const std::uint64_t length, NextVarint());
      if (length > reader_.remaining()) {
        return Malformed("field " + std::to_string(field.number) + ": declares " +
                         std::to_string(length) + " bytes, " + std::to_string(reader_.remaining()) +
                         " remain");
      }
      FL_TRY(field.bytes, reader_.ReadSpan(static_cast<std::size_t>(length)));
      return field;
    }
  }
  return Malformed("field " + std::to_string(field.number) +
                   ": expected a wire type of 0, 1, 2 or 5, found " + std::to_string(tag & 7U));
}

void ProtoWriter::Varint(std::uint64_t value) {
  for (; value >= 0x80; value >>= 7U) bytes_.push_back(static_cast<std::byte>(value | 0x80U));
  bytes_.push_back(static_cast<std::byte>(value));
}

void ProtoWriter::Tag(std::uint32_t field, WireType type) {
  Varint(std::uint64_t{field} << 3U | static_cast<std::uint64_t>(type));
}

void ProtoWriter::Number(std::uint32_t field, std::uint64_t value) {
  Tag(field, WireType::kVarint);
  Varint(value);
}

void ProtoWriter::Float(std::uint32_t field, float value) {
  Tag(field, WireType::kFixed32);
  const auto word = std::bit_cast<std::uint32_t>(value);
  for (unsigned shift = 0; shift < 32; shift += 8)
    bytes_.push_back(static_cast<std::byte>(word >> shift));
}

void ProtoWriter::Span(std::uint32_t field, ByteSpan bytes) {
  Tag(field, WireType::kLength);
  Varint(bytes.size());
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

void ProtoWriter::Message(std::uint32_t field, const ProtoWriter& message) {
  Span(field, message.bytes());
}

}  // namespace fl::onnx::internal
