#include "fl/client/state/device_speed.h"

#include <algorithm>

namespace fl::client {
namespace {

constexpr double kNewest = 0.25;
constexpr double kAssumedBytesPerSecond = 16000;
constexpr double kAssumedTrainingShare = 0.5;

void Learn(double value, double& average) {
  average = average > 0 ? average + kNewest * (value - average) : value;
}

// At least the clock's resolution.
double SecondsOf(Duration took) {
  return ToSeconds(std::max(took, Duration(1)));
}

}  // namespace

void DeviceSpeed::LearnUpload(std::uint64_t bytes, Duration took, bool accepted) {
  if (bytes == 0) return;
  const double speed = static_cast<double>(bytes) / SecondsOf(took);
  const bool slower = upload_bytes_per_second > 0 && speed <= upload_bytes_per_second;
  if (accepted || slower || upload_bytes_per_second == 0) Learn(speed, upload_bytes_per_second);
}

void DeviceSpeed::LearnTraining(Duration took) {
  Learn(SecondsOf(took), training_s);
}

rate::TimeLeft DeviceSpeed::TimeWithin(double deadline_s) const {
  rate::TimeLeft time;
  time.measured = upload_bytes_per_second > 0 && training_s > 0;
  const double training = training_s > 0 ? training_s : kAssumedTrainingShare * deadline_s;
  time.upload_s = std::max(deadline_s - training, 0.0);
  time.bytes_per_second =
      upload_bytes_per_second > 0 ? upload_bytes_per_second : kAssumedBytesPerSecond;
  return time;
}

}  // namespace fl::client
