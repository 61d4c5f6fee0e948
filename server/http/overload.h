#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "fl/common/base/clock.h"
#include "fl/common/base/guarded.h"
#include "fl/common/net/message.h"
#include "fl/server/core/request.h"

namespace fl::server {

// What a server that is behind puts off, by how many requests wait: what costs most and has cost
// least so far comes first, so that what is under way ends and makes room. The least numbers of
// waiting requests at which each is refused:
struct OverloadLimits {
  std::size_t reservations = 256;  // Nothing of the update has been sent.
  std::size_t updates = 1024;      // Whole ones.
  std::size_t all = 8192;          // Pieces, commits and check-ins, too; an admin's never.
};

// A refusal with 503 and a window from `seconds` on, also as Retry-After. seconds >= 1.
net::Response ComeBack(const Error& error, std::uint32_t seconds);

// The refusal (kUnavailable, 503) of a request that is put off, with the window to come back in, as
// Retry-After, too; nothing where it is to be answered. Pure.
std::optional<net::Response> PutOff(const net::Peer& peer, const net::Request& request,
                                    std::size_t waiting, const OverloadLimits& limits = {});

// The uploads in pieces that are under way, at most so many: more of them at once would make each
// slower and none of them more. A client has one place, whatever it reserves, so that nobody takes
// those of others. One that says nothing for `patience` gives its place up, but may go on. Thread
// safety: shared objects safe.
class UploadsUnderWay {
 public:
  explicit UploadsUnderWay(std::size_t most = 256, Duration patience = std::chrono::seconds(30))
      : most_(most), patience_(patience) {}

  // Takes note of the request. The refusal of a reservation for which there is no place, with a
  // window to come back in; nothing for all else. `client` by ClientName.
  std::optional<net::Response> Take(const std::string& client, const DecodedRequest& request,
                                    TimePoint now);

 private:
  using Seen = std::unordered_map<std::string, TimePoint>;
  const std::size_t most_;
  const Duration patience_;
  Guarded<Seen> seen_;
};

}  // namespace fl::server
