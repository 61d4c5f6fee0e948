#include "fl/client/core/download.h"

#include <algorithm>
#include <utility>

namespace fl::client {

Download::Download(const Digest& digest, std::uint64_t bytes, std::size_t chunk_bytes)
    : digest_(digest), bytes_(bytes), chunk_bytes_(chunk_bytes) {}

net::Request Download::Next(const std::string& host) const {
  net::Request request{"GET", "/v1/blobs/" + digest_.ToHex(), host, {}, {}};
  if (in_ranges()) {
    const std::uint64_t first = received_.size();
    const std::uint64_t last = std::min<std::uint64_t>(first + chunk_bytes_, bytes_) - 1;
    request.headers = {{"Range", "bytes=" + std::to_string(first) + "-" + std::to_string(last)}};
  }
  return request;
}

Failure Download::Garbage(const Error& error) {
  constexpr int kGarbageMax = 5;
  Failure failure = GarbageAnswer(error);
  if (++garbage_ >= kGarbageMax) failure.cure = Failure::Cure::kGiveUp;
  return failure;
}

Download::Outcome Download::OnAnswer(Result<net::Response> answer, ContentCache& cache) {
  if (auto failure = FindFailure(answer)) return *std::move(failure);
  Bytes& body = answer->body;
  if (in_ranges()) {
    const std::uint64_t wanted = std::min<std::uint64_t>(chunk_bytes_, bytes_ - received_.size());
    if (answer->status != 206 || body.size() != wanted) {
      return Garbage({ErrorCode::kMalformed, "expected " + std::to_string(wanted) +
                                                 " bytes of a blob, found " +
                                                 std::to_string(body.size()) + " with status " +
                                                 std::to_string(answer->status)});
    }
  } else if (bytes_ != 0 && body.size() != bytes_) {
    return Garbage({ErrorCode::kMalformed, "expected a blob of " + std::to_string(bytes_) +
                                               " bytes, found " + std::to_string(body.size())});
  }
  garbage_ = 0;
  if (received_.empty()) {
    received_ = std::move(body);
  } else {
    received_.insert(received_.end(), body.begin(), body.end());
  }
  if (received_.size() < bytes_) return Continue{};
  if (!cache.IsBlob(digest_, received_)) {
    received_.clear();
    return Failure{
        Failure::Cure::kGiveUp,
        {ErrorCode::kDigestMismatch, "blob " + digest_.ToHex() + ": the server sent other bytes"},
        std::nullopt};
  }
  return std::move(received_);
}

}  // namespace fl::client
