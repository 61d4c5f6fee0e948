#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstring>
#include <string>

#include "fl/common/base/bytes.h"

namespace fl {

// A SHA-256 digest; crypto/sha256.h computes it. Names a blob, a plan, a model.
struct Digest {
  std::array<std::byte, 32> bytes{};

  std::string ToHex() const { return fl::ToHex(bytes); }
  // The first 8 bytes as a little-endian word: how headers refer to a digest.
  std::uint64_t prefix() const {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }
  friend auto operator<=>(const Digest&, const Digest&) = default;
};

Result<Digest> DigestFromHex(std::string_view text);

}  // namespace fl
