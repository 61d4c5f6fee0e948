#pragma once

#include <cstddef>
#include <span>

namespace fl::crypto {

// Bytes that nobody can predict, from the operating system by way of OpenSSL: keys, nonces, serial
// numbers. It is another type than RngStream, so that what must repeat and what must never repeat
// cannot be confused. Thread safety: shared objects safe.
class SecureRandom {
 public:
  void Fill(std::span<std::byte> out) const;
};

}  // namespace fl::crypto
