#pragma once

#include <cstddef>
#include <optional>

#include "fl/common/net/message.h"

namespace fl::server {

// What a server that is behind puts off, by how many requests wait: what costs most and has cost
// least so far comes first, so that what is under way ends and makes room. The least numbers of
// waiting requests at which each is refused:
struct OverloadLimits {
  std::size_t reservations = 256;  // Nothing of the update has been sent.
  std::size_t updates = 1024;      // Whole ones.
  std::size_t all = 8192;          // Pieces, commits and check-ins, too; an admin's never.
};

// The refusal (kUnavailable, 503) of a request that is put off, with the window to come back in, as
// Retry-After, too; nothing where it is to be answered. Pure.
std::optional<net::Response> PutOff(const net::Request& request, std::size_t waiting,
                                    const OverloadLimits& limits = {});

}  // namespace fl::server
