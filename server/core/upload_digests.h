#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "fl/common/crypto/sha256.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

// A piece of an upload that came in. `bytes` must stay where they are; `body` may take them over.
struct UploadPiece {
  UploadPiece(std::uint64_t of_task, std::uint64_t at, ByteSpan what)
      : task(of_task), offset(at), bytes(what) {}

  const std::uint64_t task;
  const std::uint64_t offset;  // In the upload.
  const ByteSpan bytes;
  Bytes body;

 private:
  friend class UploadDigests;
  // Of everything up to the end of this piece, as the pieces before it were of that attempt.
  std::optional<crypto::Sha256Stream> hash_;
  std::uint64_t attempt_ = 0;
  std::mutex mutex_;
};

// The SHA-256 of uploads under way: a piece is read while it is being stored, and counts once it
// was, so that the commit has less to do. Only a hint: what it does not have is read at the commit.
// Thread safety: shared objects safe.
class UploadDigests {
 public:
  // So many uploads at a time; the one that is the longest without a new piece makes room.
  static constexpr std::size_t kUploadsMax = 256;

  // Reads a piece that is not stored yet, where those before it are known.
  void Read(UploadPiece& piece) const;
  // It was stored, in that attempt of its task's (TaskRow): it is read now, where it was not.
  void Keep(UploadPiece& piece, std::uint64_t attempt);
  // Of all bytes of the task's body.
  Digest Finish(const TaskRow& task, ByteSpan body);

  std::size_t uploads() const;
  // Bytes of pieces that were kept, and of those that were read before that.
  std::uint64_t bytes_kept() const;
  std::uint64_t bytes_ahead() const;

 private:
  struct Upload {
    std::mutex mutex;
    std::uint64_t attempt = 0;
    std::size_t bytes = 0;
    crypto::Sha256Stream hash;
    std::uint64_t last = 0;  // When its last piece was kept, by keeps_.
  };

  std::shared_ptr<Upload> Find(std::uint64_t task) const;
  std::shared_ptr<Upload> FindOrMake(std::uint64_t task);

  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<Upload>> uploads_;  // By task.
  std::uint64_t keeps_ = 0;
  std::uint64_t bytes_kept_ = 0;
  std::uint64_t bytes_ahead_ = 0;
};

}  // namespace fl::server
