#include "fl/simulations/population/population.h"

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

namespace fl::sim {
namespace {

SimulationConfig SlowLinks() {
  SimulationConfig config;
  config.devices = 2000;
  config.examples_per_second = 100;
  config.link = {.bandwidth_up_kbps = 1000,
                 .bandwidth_down_kbps = 5000,
                 .latency_ms = 40,
                 .spread = 0.5,
                 .drop_out = 0.2};
  return config;
}

TEST_CASE("DeviceName: names have four digits or more") {
  CHECK(DeviceName(0) == "device-0000");
  CHECK(DeviceName(123) == "device-0123");
  CHECK(DeviceName(12345) == "device-12345");
}

TEST_CASE("Population: without a spread every device is the median") {
  SimulationConfig config = SlowLinks();
  config.link.spread = 0;
  for (const DeviceProfile& device : DrawPopulation(config, 1)) {
    CHECK(device.link == Link{1e6, 5e6, Duration(40000)});
    CHECK(device.examples_per_second == 100);
  }
}

// The logarithms are normal with sigma 0.5: over 2,000 devices their mean has a standard error of
// 0.0112 and their standard deviation one of 0.0079. Five of each fails by chance once in a
// million.
TEST_CASE("Population: speed and bandwidth are log-normal around their medians") {
  double sum = 0;
  double squares = 0;
  const auto devices = DrawPopulation(SlowLinks(), 1);
  for (const DeviceProfile& device : devices) {
    const double logarithm = std::log(device.examples_per_second / 100);
    sum += logarithm;
    squares += logarithm * logarithm;
  }
  const double mean = sum / 2000;
  CHECK(std::abs(mean) < 0.056);
  CHECK(std::abs(std::sqrt(squares / 2000 - mean * mean) - 0.5) < 0.04);
}

TEST_CASE("Population: a larger one begins with the devices of a smaller one") {
  SimulationConfig config = SlowLinks();
  const auto large = DrawPopulation(config, 9);
  config.devices = 5;
  const auto small = DrawPopulation(config, 9);
  CHECK(std::equal(small.begin(), small.end(), large.begin()));
  CHECK(DrawPopulation(config, 10) != small);
}

// 2,000 tasks at a chance of 0.2: standard deviation 17.9 around 400.
TEST_CASE("DropsOut: devices vanish as often as the plan says and the same for the same seed") {
  const auto devices = DrawPopulation(SlowLinks(), 1);
  int vanished = 0;
  for (std::uint64_t attempt = 0; attempt < 2000; ++attempt) {
    vanished += DropsOut(devices[3], 3, attempt, 1) ? 1 : 0;
    CHECK(DropsOut(devices[3], 3, attempt, 1) == DropsOut(devices[3], 3, attempt, 1));
  }
  CHECK(std::abs(vanished - 400) < 90);
  CHECK_FALSE(DropsOut(DeviceProfile{}, 0, 0, 1));
}

TEST_CASE("TrainingTime: examples over speed and never less than the clock's resolution") {
  DeviceProfile device;
  CHECK(TrainingTime(device, 1000) == Duration(1));
  device.examples_per_second = 50;
  CHECK(TrainingTime(device, 100) == Duration(2000000));
  CHECK(TrainingTime(device, 0) == Duration(1));
}

}  // namespace
}  // namespace fl::sim
