#pragma once

#include <cstddef>
#include <memory>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"

namespace fl::server {

// The bytes of an update as its storage holds them: in memory, or a part of a file that is mapped.
// Nobody changes them; copies share them. Thread safety: shared objects safe.
class StoredBody {
 public:
  StoredBody() = default;
  StoredBody(Bytes bytes);  // NOLINT(google-explicit-constructor): bytes in memory are a body.
  // `size` bytes at `start` of an open file, which need not stay open: kIo when it is shorter.
  static Result<StoredBody> Map(int descriptor, std::uint64_t start, std::size_t size);

  ByteSpan bytes() const { return bytes_; }
  // Says that all of it will be read at once.
  void Prefetch() const;
  // Gives back the memory of what was read of a mapped file; it is read again when it is looked at.
  void Release() const;

 private:
  void Advise(int advice) const;

  std::shared_ptr<const void> owner_;
  ByteSpan bytes_;
  bool is_mapped_ = false;
};

}  // namespace fl::server
