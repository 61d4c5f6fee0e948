#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "fl/common/base/bytes.h"

namespace fl {

// The whole file, at most `bytes_max` of it: kNotFound, kLimitExceeded or kIo, with the path in the
// message.
Result<Bytes> ReadFile(const std::filesystem::path& path, std::uint64_t bytes_max);

// Replaces the file so that a crash at any moment leaves the old content or the new one: temporary
// file, fsync, rename, fsync of the folder. `mode` holds from the first byte on.
Result<> WriteFileAtomically(const std::filesystem::path& path, ByteSpan content,
                             unsigned mode = 0644);

// Makes the folder, its parents included, for the owner only (0700), where it does not exist.
Result<> MakePrivateFolder(const std::filesystem::path& path);

// An exclusive lock on a folder for as long as the object lives (flock on DIR/lock). kLocked when
// another process has it, with that process's id in the message.
class FolderLock {
 public:
  static Result<FolderLock> Acquire(const std::filesystem::path& folder);
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;
  ~FolderLock();

 private:
  explicit FolderLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace fl
