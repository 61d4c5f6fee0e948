#pragma once

#include <cstdint>
#include <functional>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"

namespace fl::testing {

// Runs a property for seeds 1 to seed_count; a failure names its seed.
inline void ForAll(std::uint64_t seed_count, const std::function<void(RngStream&)>& property) {
  for (std::uint64_t seed = 1; seed <= seed_count; ++seed) {
    CAPTURE(seed);
    RngStream rng(seed);
    property(rng);
  }
}

}  // namespace fl::testing
