#include "fl/client/core/upload.h"

#include <algorithm>
#include <charconv>

#include "fl/common/crypto/sha256.h"
#include "fl/common/wire/messages.h"

namespace fl::client {
namespace {

std::string TaskTarget(std::uint64_t task) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string target = "/v1/updates/";
  for (int shift = 60; shift >= 0; shift -= 4) target.push_back(kDigits[(task >> shift) & 15U]);
  return target;
}

std::optional<std::uint64_t> ParseNumber(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

}  // namespace

Upload::Upload(const StagedUpdate& staged, std::size_t chunk_bytes)
    : task_(staged.task),
      bytes_(staged.update.size()),
      chunk_bytes_(chunk_bytes),
      step_(staged.update.size() <= chunk_bytes ? Step::kWhole : Step::kReserve) {
  if (step_ == Step::kReserve) digest_ = crypto::Sha256(staged.update);
}

net::Request Upload::Next(const std::string& host, ByteSpan update) const {
  net::Request request{"POST", TaskTarget(task_), host, {}, {}};
  switch (step_) {
    case Step::kWhole:
      request.method = "PUT";
      request.body.assign(update.begin(), update.end());
      break;
    case Step::kReserve:
      request.target += "/reserve";
      request.body = wire::Encode(wire::ReserveRequest{bytes_, digest_});
      break;
    case Step::kPatch: {
      request.method = "PATCH";
      request.headers = {{"Upload-Offset", std::to_string(offset_)}};
      const ByteSpan chunk =
          update.subspan(offset_, std::min<std::size_t>(chunk_bytes_, bytes_ - offset_));
      request.body.assign(chunk.begin(), chunk.end());
      break;
    }
    case Step::kHead:
      request.method = "HEAD";
      break;
    case Step::kCommit:
      request.target += "/commit";
      request.body = wire::Encode(wire::ReserveRequest{bytes_, digest_});
      break;
  }
  return request;
}

Upload::Outcome Upload::OnAnswer(const Result<net::Response>& answer) {
  if (auto failure = FindFailure(answer)) {
    if (failure->error.code == ErrorCode::kWrongOffset && step_ != Step::kWhole) {
      step_ = Step::kHead;
      return Continue{};
    }
    // After a lost answer only the server knows how much has arrived.
    if (failure->cure == Failure::Cure::kSendAgain && step_ == Step::kPatch) step_ = Step::kHead;
    // A HEAD that finds no reservation has no body to say so: reserving anew answers it.
    else if (step_ == Step::kHead && answer.has_value())
      step_ = Step::kReserve;
    return *std::move(failure);
  }
  if (step_ == Step::kHead) return OnHead(*answer);
  const auto body = wire::Decode<wire::UploadAnswer>(answer->body);
  if (!body) return GarbageAnswer(body.error());
  if (body->accepted) return Accepted{body->round};
  if (step_ == Step::kWhole || step_ == Step::kCommit) {
    return GarbageAnswer({ErrorCode::kMalformed, "expected the update accepted, found it was not"});
  }
  return MoveTo(body->committed);
}

Upload::Outcome Upload::OnHead(const net::Response& answer) {
  const auto committed = ParseNumber(net::FindHeader(answer.headers, "Upload-Offset"));
  if (!committed) {
    return GarbageAnswer({ErrorCode::kMalformed, "expected a number in Upload-Offset"});
  }
  return MoveTo(*committed);
}

Upload::Outcome Upload::MoveTo(std::uint64_t committed) {
  if (committed > bytes_) {
    return GarbageAnswer({ErrorCode::kMalformed, "expected at most " + std::to_string(bytes_) +
                                                     " committed bytes, found " +
                                                     std::to_string(committed)});
  }
  // A server that takes a piece and commits none of it would be asked for ever.
  if (step_ == Step::kPatch && committed <= offset_) {
    return GarbageAnswer({ErrorCode::kMalformed, "expected the piece committed, found none of it"});
  }
  offset_ = committed;
  step_ = committed == bytes_ ? Step::kCommit : Step::kPatch;
  return Continue{};
}

}  // namespace fl::client
