#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "fl/client/core/answer.h"
#include "fl/client/state/content_cache.h"
#include "fl/common/base/digest.h"
#include "fl/common/net/message.h"

namespace fl::client {

// Fetches one blob by its digest, in ranges of at most `chunk_bytes`, going on after a failure
// where it was; what it hands over has that digest. Thread safety: distinct objects safe.
class Download {
 public:
  // bytes: the blob's size where the server has told it, else 0: then it must fit one answer.
  Download(const Digest& digest, std::uint64_t bytes, std::size_t chunk_bytes);

  net::Request Next(const std::string& host) const;

  struct Continue {};
  // The blob; or more to ask for; or why not. kDigestMismatch is a failure that gives up, and so is
  // the fifth answer in a row that makes no sense: a server that goes on so would never be left.
  using Outcome = std::variant<Continue, Bytes, Failure>;
  Outcome OnAnswer(Result<net::Response> answer, ContentCache& cache);

 private:
  Failure Garbage(const Error& error);
  bool in_ranges() const { return bytes_ > chunk_bytes_; }

  Digest digest_;
  std::uint64_t bytes_;
  std::size_t chunk_bytes_;
  Bytes received_;
  int garbage_ = 0;  // In a row.
};

}  // namespace fl::client
