#include "fl/common/crypto/secret.h"

#include <algorithm>
#include <utility>

#include <openssl/crypto.h>

namespace fl::crypto {

void Wipe(std::span<std::byte> bytes) {
  OPENSSL_cleanse(bytes.data(), bytes.size());
}

Secret Secret::Copy(ByteSpan bytes) {
  Secret secret(bytes.size());
  std::ranges::copy(bytes, secret.bytes_.begin());
  return secret;
}

Secret::Secret(Secret&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this == &other) return *this;
  Wipe(bytes_);
  bytes_ = std::exchange(other.bytes_, {});
  return *this;
}

Secret::~Secret() {
  Wipe(bytes_);
}

}  // namespace fl::crypto
