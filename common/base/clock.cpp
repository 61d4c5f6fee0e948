#include "fl/common/base/clock.h"

namespace fl {

SystemClock::SystemClock()
    : steady_start_(std::chrono::steady_clock::now()),
      wall_start_(std::chrono::duration_cast<Duration>(
          std::chrono::system_clock::now().time_since_epoch())) {}

TimePoint SystemClock::Now() {
  return wall_start_ +
         std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - steady_start_);
}

}  // namespace fl
