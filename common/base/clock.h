#pragma once

#include <chrono>
#include <cstdint>

namespace fl {

// Time as the cores see it: microseconds since the Unix epoch, in fl-sim since the start of the
// simulation. It is always a parameter; only clock.cpp and the shells ask the operating system.
using Duration = std::chrono::microseconds;
struct TimelineTag {
  using rep = Duration::rep;
  using period = Duration::period;
  using duration = Duration;
  using time_point = std::chrono::time_point<TimelineTag>;
};
using TimePoint = TimelineTag::time_point;

inline constexpr TimePoint kNever = TimePoint::max();

inline std::int64_t ToMicroseconds(TimePoint time) {
  return time.time_since_epoch().count();
}
inline TimePoint FromMicroseconds(std::int64_t value) {
  return TimePoint(Duration(value));
}
inline double ToSeconds(Duration duration) {
  return static_cast<double>(duration.count()) * 1e-6;
}
inline Duration FromSeconds(double seconds) {
  return Duration(static_cast<Duration::rep>(seconds * 1e6));
}

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() = 0;
};

// The machine's clock: starts at the wall time and then follows the monotonic clock, so that it
// never jumps.
class SystemClock final : public Clock {
 public:
  SystemClock();
  TimePoint Now() override;

 private:
  std::chrono::steady_clock::time_point steady_start_;
  TimePoint wall_start_;
};

}  // namespace fl
