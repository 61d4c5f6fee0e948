#include "fl/common/base/digest.h"

#include <algorithm>

namespace fl {

Result<Digest> DigestFromHex(std::string_view text) {
  if (text.size() != 64)
    return Error{ErrorCode::kMalformed,
                 "expected 64 hex digits, found " + std::to_string(text.size())};
  FL_TRY(const Bytes bytes, FromHex(text));
  Digest digest;
  std::ranges::copy(bytes, digest.bytes.begin());
  return digest;
}

}  // namespace fl
