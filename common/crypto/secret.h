#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "fl/common/base/bytes.h"

namespace fl::crypto {

// Bytes that are overwritten with zeros before their memory is given back: keys and seeds. It moves
// and does not copy, so that no second copy is forgotten. Thread safety: distinct objects safe.
class Secret {
 public:
  Secret() = default;
  // `size` zero bytes, to be filled through `bytes()`.
  explicit Secret(std::size_t size) : bytes_(size) {}
  // A copy; the caller wipes the source where it must (see Wipe).
  static Secret Copy(ByteSpan bytes);

  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  ~Secret();

  bool empty() const { return bytes_.empty(); }
  ByteSpan bytes() const { return bytes_; }
  std::span<std::byte> bytes() { return bytes_; }
  std::string_view text() const { return AsText(bytes_); }

 private:
  Bytes bytes_;  // Never grows: a reallocation would leave a copy behind.
};

// Overwrites the bytes with zeros in a way that the compiler does not optimize away.
void Wipe(std::span<std::byte> bytes);

}  // namespace fl::crypto
