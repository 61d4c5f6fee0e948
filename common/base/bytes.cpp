#include "fl/common/base/bytes.h"

#include <algorithm>
#include <array>

#include "fl/common/base/error_detail.h"

namespace fl {

Error ByteReader::Truncated(std::size_t wanted) const {
  return {ErrorCode::kMalformed,
          "at byte " + std::to_string(position_) + ": expected " + std::to_string(wanted) +
              " more bytes, found " + std::to_string(remaining()),
          ErrorDetail::kCutShort};
}

Result<std::uint64_t> ByteReader::ReadVarint() {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 10; ++i) {
    if (i >= remaining()) return Truncated(i + 1);
    const auto byte = std::to_integer<std::uint64_t>(bytes_[position_ + i]);
    if (i == 9 && byte > 1) break;
    value |= (byte & 0x7F) << (7 * i);
    if ((byte & 0x80) != 0) continue;
    if (byte == 0 && i > 0) break;
    position_ += i + 1;
    return value;
  }
  return Error{ErrorCode::kMalformed,
               "at byte " + std::to_string(position_) +
                   ": expected a varint in its shortest form, at most 64 bits",
               ErrorDetail::kLongNumber};
}

Result<ByteSpan> ByteReader::ReadSpan(std::size_t count) {
  if (remaining() < count) return Truncated(count);
  const ByteSpan span = bytes_.subspan(position_, count);
  position_ += count;
  return span;
}

Result<> ByteReader::ExpectEnd() const {
  if (remaining() == 0) return {};
  return Error{ErrorCode::kMalformed,
               "at byte " + std::to_string(position_) + ": " + std::to_string(remaining()) +
                   " bytes too many",
               ErrorDetail::kTrailingBytes};
}

void ByteWriter::WriteVarint(std::uint64_t value) {
  while (value >= 0x80) {
    bytes_.push_back(static_cast<std::byte>(value | 0x80));
    value >>= 7;
  }
  bytes_.push_back(static_cast<std::byte>(value));
}

std::size_t VarintSize(std::uint64_t value) {
  return static_cast<std::size_t>((std::bit_width(value | 1) + 6) / 7);
}

std::string ToHex(ByteSpan bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    text.push_back(kDigits[std::to_integer<std::size_t>(byte >> 4)]);
    text.push_back(kDigits[std::to_integer<std::size_t>(byte & std::byte{15})]);
  }
  return text;
}

Result<Bytes> FromHex(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  if (text.size() % 2 != 0)
    return Error{ErrorCode::kMalformed, "expected an even number of hex digits"};
  Bytes bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]);
    const int low = digit(text[i + 1]);
    if (high < 0 || low < 0) return Error{ErrorCode::kMalformed, "expected hex digits 0-9 a-f"};
    bytes.push_back(static_cast<std::byte>(high * 16 + low));
  }
  return bytes;
}

}  // namespace fl
