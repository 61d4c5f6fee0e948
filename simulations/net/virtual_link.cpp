#include "fl/simulations/net/virtual_link.h"

#include <algorithm>

namespace fl::sim {

TimePoint VirtualLink::Send(TimePoint now, std::uint64_t bytes, double bits_per_second,
                            TimePoint& free) const {
  const Duration transfer = bits_per_second > 0
                                ? FromSeconds(8.0 * static_cast<double>(bytes) / bits_per_second)
                                : Duration(0);
  free = std::max(now, free) + transfer;
  return free + link_.latency;
}

}  // namespace fl::sim
