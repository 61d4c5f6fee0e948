#pragma once

#include <cstdint>

#include "fl/common/base/clock.h"
#include "fl/compression/rate/budget.h"

namespace fl::client {

// How fast a device trains and sends, as it has measured itself, on the clock that drives its core:
// exponential averages, of which the newest value is a quarter. 0: not measured.
struct DeviceSpeed {
  double upload_bytes_per_second = 0;  // From an update's first byte to the server's answer, with
                                       // all attempts and pauses.
  double training_s = 0;               // Of a train task, encoding included.

  // A refused update, which may have been refused early, counts where it was no faster than what is
  // known.
  void LearnUpload(std::uint64_t bytes, Duration took, bool accepted);
  void LearnTraining(Duration took);

  // What is left of `deadline_s` seconds, of which none has been trained yet. What is not measured
  // is assumed: that training takes half of them, and 16 kB a second.
  rate::TimeLeft TimeWithin(double deadline_s) const;

  friend bool operator==(const DeviceSpeed&, const DeviceSpeed&) = default;
};

}  // namespace fl::client
