#include "fl/common/crypto/secure_random.h"

#include <algorithm>
#include <limits>

#include <openssl/rand.h>

#include "fl/common/base/check.h"

namespace fl::crypto {

void SecureRandom::Fill(std::span<std::byte> out) const {
  while (!out.empty()) {
    const std::size_t step = std::min<std::size_t>(
        out.size(), static_cast<std::size_t>(std::numeric_limits<int>::max()));
    auto* const bytes = reinterpret_cast<unsigned char*>(out.data());
    FL_CHECK(RAND_bytes(bytes, static_cast<int>(step)) == 1, "the system gives no random bytes");
    out = out.subspan(step);
  }
}

}  // namespace fl::crypto
