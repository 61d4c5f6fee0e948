#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "fl/client/core/answer.h"
#include "fl/client/state/device_state.h"
#include "fl/common/net/message.h"

namespace fl::client {

// Step 6: the requests that bring one staged update to the server, and what their answers mean. An
// update of at most `chunk_bytes` travels in one PUT; a larger one is reserved, sent in pieces at
// the offset that the server has committed, and committed with its digest. Each request may be
// repeated, so an upload that starts anew, after a crash too, goes on where the server is.
// Thread safety: distinct objects safe.
class Upload {
 public:
  Upload(const StagedUpdate& staged, std::size_t chunk_bytes);

  // The request to send now; the same until an answer has moved the upload on. `update` holds the
  // staged bytes.
  net::Request Next(const std::string& host, ByteSpan update) const;

  // Whether all of the update has left the device.
  bool all_sent() const { return step_ == Step::kWhole || step_ == Step::kCommit; }

  struct Accepted {
    std::uint64_t round = 0;
  };
  struct Continue {};
  using Outcome = std::variant<Continue, Accepted, Failure>;
  // kSendAgain failures leave the upload where it is (or make it ask for the offset first).
  Outcome OnAnswer(const Result<net::Response>& answer);

 private:
  enum class Step : std::uint8_t { kWhole, kReserve, kPatch, kHead, kCommit };

  Outcome OnHead(const net::Response& answer);
  Outcome MoveTo(std::uint64_t committed);

  std::uint64_t task_;
  std::uint64_t bytes_;
  Digest digest_;  // Of the update, where it is reserved first.
  std::size_t chunk_bytes_;
  Step step_;
  std::uint64_t offset_ = 0;
};

}  // namespace fl::client
