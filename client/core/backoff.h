#pragma once

#include <cstdint>

#include "fl/client/core/answer.h"
#include "fl/common/base/clock.h"
#include "fl/common/random/rng_stream.h"

namespace fl::client {

// A moment in the server's window, so that clients spread over it.
Duration DrawInWindow(const AgainWindow& window, RngStream& rng);

// Exponential backoff with full jitter: uniform in [0, min(cap, base * 2^failures)).
Duration DrawBackoff(Duration base, Duration cap, std::uint32_t failures, RngStream& rng);

}  // namespace fl::client
