#include "fl/server/core/upload_digests.h"

#include <algorithm>

namespace fl::server {

void UploadDigests::Advance(Storage& storage, const std::string& federation, std::uint64_t task) {
  const auto transaction = storage.Begin(federation, TransactionMode::kOptimistic);
  if (!transaction) return;
  const auto row = (*transaction)->FindTask(task);
  const bool is_open = row && *row && (*row)->state == TaskState::kOpen && (*row)->committed > 0;
  if (!is_open) return;
  const auto body = (*transaction)->ReadBody(task);
  if (!body) return;
  const std::shared_ptr<Upload> upload = Find(task);
  const std::lock_guard lock(upload->mutex);
  if (upload->attempt != (*row)->attempt) {
    upload->hash = crypto::Sha256Stream();
    upload->bytes = 0;
    upload->attempt = (*row)->attempt;
  }
  if (body->bytes().size() <= upload->bytes) return;
  const ByteSpan more = body->bytes().subspan(upload->bytes);
  upload->hash.Update(more);
  upload->bytes += more.size();
  const std::lock_guard all(mutex_);
  bytes_ahead_ += more.size();
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
  return upload->hash.Finish();
}

std::size_t UploadDigests::uploads() const {
  const std::lock_guard lock(mutex_);
  return uploads_.size();
}

std::uint64_t UploadDigests::bytes_ahead() const {
  const std::lock_guard lock(mutex_);
  return bytes_ahead_;
}

std::shared_ptr<UploadDigests::Upload> UploadDigests::Find(std::uint64_t task) {
  const std::lock_guard lock(mutex_);
  if (!uploads_.contains(task) && uploads_.size() >= kUploadsMax) {
    uploads_.erase(std::ranges::min_element(uploads_, {},
                                            [](const auto& entry) { return entry.second->last; }));
  }
  std::shared_ptr<Upload>& upload = uploads_[task];
  if (upload == nullptr) upload = std::make_shared<Upload>();
  upload->last = ++calls_;
  return upload;
}

}  // namespace fl::server
