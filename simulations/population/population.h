#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fl/common/base/clock.h"
#include "fl/common/config/plan.h"
#include "fl/common/random/rng_stream.h"

// Who the virtual devices are: their names, how fast they compute and what their links carry.
namespace fl::sim {

// What a device's link to the server carries.
struct Link {
  double bits_per_second_up = 0;  // 0: unlimited.
  double bits_per_second_down = 0;
  Duration latency{0};  // One way.
  friend bool operator==(const Link&, const Link&) = default;
};

struct DeviceProfile {
  std::string name;  // "device-0000": what its certificate would say.
  Link link;
  double examples_per_second = 0;  // Training speed; 0: training takes no virtual time.
  double drop_out = 0;             // Chance that it vanishes during a task.
  friend bool operator==(const DeviceProfile&, const DeviceProfile&) = default;
};

// "device-" and the index with at least four digits.
std::string DeviceName(std::size_t index);

// The devices of a plan. Speed and both bandwidths are the plan's medians times factors exp(spread
// * normal), drawn for each device on its own from
// RngStream(seed).Child("population").Child("device", index): a larger population begins with the
// devices of a smaller one.
std::vector<DeviceProfile> DrawPopulation(const SimulationConfig& config, std::uint64_t seed);

// Whether the device vanishes during the `attempt`-th task that it takes up. The same seed gives
// the same answer.
bool DropsOut(const DeviceProfile& device, std::size_t index, std::uint64_t attempt,
              std::uint64_t seed);

// How long the device takes to train on that many examples in all epochs together; at least the
// clock's resolution of 1 us, so that a result never arrives at the instant at which the work
// began.
Duration TrainingTime(const DeviceProfile& device, std::uint64_t examples);

}  // namespace fl::sim
