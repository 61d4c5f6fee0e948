#pragma once

#include <memory>

#include "fl/common/base/digest.h"

namespace fl::crypto {

// SHA-256 (FIPS 180-4) of the whole span.
Digest Sha256(ByteSpan bytes);

// The same over bytes that come in pieces:
//   Sha256Stream hash;
//   hash.Update(head);
//   hash.Update(body);
//   const Digest digest = hash.Finish();
// Thread safety: distinct objects safe.
class Sha256Stream {
 public:
  Sha256Stream();
  // Goes on from the same bytes.
  Sha256Stream(const Sha256Stream& other);
  Sha256Stream(Sha256Stream&& other) noexcept;
  Sha256Stream& operator=(const Sha256Stream& other) = delete;
  Sha256Stream& operator=(Sha256Stream&& other) noexcept;
  ~Sha256Stream();

  void Update(ByteSpan bytes);
  // The digest of all bytes since the construction or the last Finish; the stream starts afresh.
  Digest Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fl::crypto
