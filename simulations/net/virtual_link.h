#pragma once

#include <cstdint>

#include "fl/common/base/clock.h"
#include "fl/simulations/population/population.h"

namespace fl::sim {

// One device's link as a model: a message arrives a latency after its last bit has left, and
// messages in one direction leave one after the other. So `bytes` on an idle link take latency + 8
// * bytes / bandwidth. What travels is counted above TLS, heads included. Thread safety: distinct
// objects safe.
class VirtualLink {
 public:
  explicit VirtualLink(const Link& link) : link_(link) {}

  // When a message that is handed over now has arrived.
  TimePoint SendUp(TimePoint now, std::uint64_t bytes) {
    return Send(now, bytes, link_.bits_per_second_up, free_up_);
  }
  TimePoint SendDown(TimePoint now, std::uint64_t bytes) {
    return Send(now, bytes, link_.bits_per_second_down, free_down_);
  }

 private:
  TimePoint Send(TimePoint now, std::uint64_t bytes, double bits_per_second, TimePoint& free) const;

  Link link_;
  TimePoint free_up_{};  // When the direction is idle again.
  TimePoint free_down_{};
};

}  // namespace fl::sim
