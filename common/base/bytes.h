#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"

namespace fl {

static_assert(std::endian::native == std::endian::little,
              "fl reads and writes little-endian words in place");

using Bytes = std::vector<std::byte>;
using ByteSpan = std::span<const std::byte>;

inline ByteSpan AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view AsText(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes ToBytes(std::string_view text) {
  return {AsBytes(text).begin(), AsBytes(text).end()};
}

// Reads little-endian words and varints from a span, never past its end. Errors are kMalformed and
// leave the position where it was. Thread safety: distinct objects safe.
class ByteReader {
 public:
  explicit ByteReader(ByteSpan bytes) : bytes_(bytes) {}

  std::size_t position() const { return position_; }
  std::size_t remaining() const { return bytes_.size() - position_; }

  template <typename T>
    requires std::is_arithmetic_v<T>
  Result<T> Read() {
    if (remaining() < sizeof(T)) return Truncated(sizeof(T));
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }
  // LEB128, at most 10 bytes, shortest form only, so that one value has one encoding.
  Result<std::uint64_t> ReadVarint();
  // The next `count` bytes, in place.
  Result<ByteSpan> ReadSpan(std::size_t count);
  // kMalformed unless all was read.
  Result<> ExpectEnd() const;

 private:
  Error Truncated(std::size_t wanted) const;

  ByteSpan bytes_;
  std::size_t position_ = 0;
};

// Appends little-endian words and varints to a buffer that it owns.
class ByteWriter {
 public:
  template <typename T>
    requires std::is_arithmetic_v<T>
  void Write(T value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    std::memcpy(bytes_.data() + at, &value, sizeof(T));
  }
  void WriteVarint(std::uint64_t value);
  void WriteSpan(ByteSpan bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }

  std::size_t size() const { return bytes_.size(); }
  Bytes& bytes() { return bytes_; }
  Bytes Take() && { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

// How many bytes WriteVarint(value) writes, 1 to 10.
std::size_t VarintSize(std::uint64_t value);

// CRC-32 (IEEE 802.3, reflected, as in zlib and gzip).
std::uint32_t Crc32(ByteSpan bytes);

std::string ToHex(ByteSpan bytes);
Result<Bytes> FromHex(std::string_view text);

}  // namespace fl
