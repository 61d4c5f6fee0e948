#include "fl/client/state/device_speed.h"

#include <doctest/doctest.h>

namespace fl::client {
namespace {

using std::chrono::seconds;

TEST_CASE("DeviceSpeed: what is not measured is assumed, and says so") {
  DeviceSpeed speed;
  rate::TimeLeft time = speed.TimeWithin(60);
  CHECK_FALSE(time.measured);
  CHECK(time.upload_s == 30);
  CHECK(time.bytes_per_second == 16000);
  speed.LearnTraining(seconds(10));
  time = speed.TimeWithin(60);
  CHECK_FALSE(time.measured);
  CHECK(time.upload_s == 50);
  speed.LearnUpload(4000, seconds(2), true);
  time = speed.TimeWithin(60);
  CHECK(time.measured);
  CHECK(time.bytes_per_second == 2000);
  CHECK(speed.TimeWithin(5).upload_s == 0);
}

TEST_CASE("DeviceSpeed: the newest value is a quarter of the average") {
  DeviceSpeed speed;
  speed.LearnUpload(1000, seconds(1), true);
  speed.LearnUpload(2000, seconds(1), true);
  CHECK(speed.upload_bytes_per_second == 1250);
  speed.LearnTraining(seconds(8));
  speed.LearnTraining(seconds(4));
  CHECK(speed.training_s == 7);
}

TEST_CASE("DeviceSpeed: a refusal counts where it was slow") {
  DeviceSpeed speed;
  speed.LearnUpload(1000, seconds(1), true);
  speed.LearnUpload(9000, seconds(1), false);  // Refused early: no measure of the link.
  CHECK(speed.upload_bytes_per_second == 1000);
  speed.LearnUpload(1000, seconds(2), false);
  CHECK(speed.upload_bytes_per_second == 875);
  speed.LearnUpload(0, seconds(9), true);
  CHECK(speed.upload_bytes_per_second == 875);
}

}  // namespace
}  // namespace fl::client
