#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "fl/common/crypto/sha256.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

// The SHA-256 of uploads under way, as far as their pieces are stored: they are read while the next
// piece is on its way, so that the commit has less to do. Only a hint: what it does not have is
// read at the commit. Thread safety: shared objects safe.
class UploadDigests {
 public:
  // So many uploads at a time; the one that is the longest without a new piece makes room.
  static constexpr std::size_t kUploadsMax = 256;

  // Reads on over what the storage has of the task's body.
  void Advance(Storage& storage, const std::string& federation, std::uint64_t task);
  // Of all bytes of the task's body.
  Digest Finish(const TaskRow& task, ByteSpan body);

  std::size_t uploads() const;
  // Bytes that Advance has read.
  std::uint64_t bytes_ahead() const;

 private:
  struct Upload {
    std::mutex mutex;
    std::uint64_t attempt = 0;
    std::size_t bytes = 0;
    crypto::Sha256Stream hash;
    std::uint64_t last = 0;  // When it was asked for, by calls_.
  };

  std::shared_ptr<Upload> Find(std::uint64_t task);

  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<Upload>> uploads_;  // By task.
  std::uint64_t calls_ = 0;
  std::uint64_t bytes_ahead_ = 0;
};

}  // namespace fl::server
