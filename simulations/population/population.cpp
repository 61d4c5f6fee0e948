#include "fl/simulations/population/population.h"

#include <algorithm>
#include <cmath>

namespace fl::sim {
namespace {

// Draws for each device even where the median is 0, so that one setting does not change the draws
// of another.
double Spread(double median, double spread, RngStream& rng) {
  return median * std::exp(spread * static_cast<double>(rng.Normal()));
}

}  // namespace

std::string DeviceName(std::size_t index) {
  const std::string digits = std::to_string(index);
  return "device-" + std::string(digits.size() < 4 ? 4 - digits.size() : 0, '0') + digits;
}

std::vector<DeviceProfile> DrawPopulation(const SimulationConfig& config, std::uint64_t seed) {
  const RngStream root = RngStream(seed).Child("population");
  const LinkConfig& link = config.link;
  std::vector<DeviceProfile> devices(config.devices);
  for (std::size_t i = 0; i < devices.size(); ++i) {
    RngStream rng = root.Child("device", i);
    DeviceProfile& device = devices[i];
    device.name = DeviceName(i);
    device.link.bits_per_second_up = 1000 * Spread(link.bandwidth_up_kbps, link.spread, rng);
    device.link.bits_per_second_down = 1000 * Spread(link.bandwidth_down_kbps, link.spread, rng);
    device.link.latency = FromSeconds(link.latency_ms * 1e-3);
    device.examples_per_second = Spread(config.examples_per_second, link.spread, rng);
    device.drop_out = link.drop_out;
  }
  return devices;
}

bool DropsOut(const DeviceProfile& device, std::size_t index, std::uint64_t attempt,
              std::uint64_t seed) {
  if (device.drop_out <= 0) return false;
  RngStream rng = RngStream(seed).Child("drop_out", index).Child("attempt", attempt);
  return rng.UniformDouble() < device.drop_out;
}

Duration TrainingTime(const DeviceProfile& device, std::uint64_t examples) {
  if (device.examples_per_second <= 0) return Duration(1);
  return std::max(Duration(1),
                  FromSeconds(static_cast<double>(examples) / device.examples_per_second));
}

}  // namespace fl::sim
