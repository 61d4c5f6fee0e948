#include "fl/server/core/upload_digests.h"

#include <algorithm>
#include <utility>

namespace fl::server {

void UploadDigests::Read(UploadPiece& piece) const {
  const std::lock_guard lock(piece.mutex_);
  crypto::Sha256Stream hash;
  if (piece.offset > 0) {
    const std::shared_ptr<Upload> upload = Find(piece.task);
    if (upload == nullptr) return;
    const std::lock_guard before(upload->mutex);
    if (upload->bytes != piece.offset) return;
    hash = crypto::Sha256Stream(upload->hash);
    piece.attempt_ = upload->attempt;
  }
  hash.Update(piece.bytes);
  piece.hash_ = std::move(hash);
}

// Of one attempt, the bytes up to an offset are always the same.
void UploadDigests::Keep(UploadPiece& piece, std::uint64_t attempt) {
  const bool first = piece.offset == 0;
  const std::shared_ptr<Upload> upload = first ? FindOrMake(piece.task) : Find(piece.task);
  if (upload == nullptr) return;
  const std::lock_guard lock(piece.mutex_);
  const std::lock_guard before(upload->mutex);
  if (first && upload->attempt < attempt) {
    upload->hash = crypto::Sha256Stream();
    upload->bytes = 0;
    upload->attempt = attempt;
  }
  if (upload->attempt != attempt || upload->bytes != piece.offset) return;
  const bool ahead = piece.hash_ && (first || piece.attempt_ == attempt);
  if (ahead) {
    upload->hash = *std::move(piece.hash_);
  } else {
    upload->hash.Update(piece.bytes);
  }
  upload->bytes += piece.bytes.size();
  const std::lock_guard all(mutex_);
  upload->last = ++keeps_;
  bytes_kept_ += piece.bytes.size();
  if (ahead) bytes_ahead_ += piece.bytes.size();
}

Digest UploadDigests::Finish(const TaskRow& task, ByteSpan body) {
  std::shared_ptr<Upload> upload;
  {
    const std::lock_guard lock(mutex_);
    const auto found = uploads_.find(task.id);
    if (found != uploads_.end()) {
      upload = std::move(found->second);
      uploads_.erase(found);
    }
  }
  if (upload == nullptr) return crypto::Sha256(body);
  const std::lock_guard lock(upload->mutex);
  if (upload->attempt != task.attempt || upload->bytes > body.size()) return crypto::Sha256(body);
  upload->hash.Update(body.subspan(upload->bytes));
  upload->bytes = 0;
  return upload->hash.Finish();
}

std::size_t UploadDigests::uploads() const {
  const std::lock_guard lock(mutex_);
  return uploads_.size();
}

std::uint64_t UploadDigests::bytes_kept() const {
  const std::lock_guard lock(mutex_);
  return bytes_kept_;
}

std::uint64_t UploadDigests::bytes_ahead() const {
  const std::lock_guard lock(mutex_);
  return bytes_ahead_;
}

std::shared_ptr<UploadDigests::Upload> UploadDigests::Find(std::uint64_t task) const {
  const std::lock_guard lock(mutex_);
  const auto found = uploads_.find(task);
  return found == uploads_.end() ? nullptr : found->second;
}

std::shared_ptr<UploadDigests::Upload> UploadDigests::FindOrMake(std::uint64_t task) {
  const std::lock_guard lock(mutex_);
  if (!uploads_.contains(task) && uploads_.size() >= kUploadsMax) {
    uploads_.erase(std::ranges::min_element(uploads_, {},
                                            [](const auto& entry) { return entry.second->last; }));
  }
  std::shared_ptr<Upload>& upload = uploads_[task];
  if (upload == nullptr) {
    upload = std::make_shared<Upload>();
    upload->last = ++keeps_;
  }
  return upload;
}

}  // namespace fl::server
