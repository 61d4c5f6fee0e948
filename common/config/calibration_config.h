#pragma once

#include <cstdint>

namespace fl {

// [deployment.calibration]: how devices find the ranges of the released model's activations
// together, for a pass that says ranges = "federation". Nothing of it matters without such a pass.
struct CalibrationConfig {
  std::uint32_t devices = 100;    // Whose values settle the ranges, >= 1; or those of all clients,
  std::uint32_t devices_min = 2;  // or at the deadline these at the least, in [1, devices].
  double reach_max = 0;           // Largest |value| that is accepted of a device; 0: any.

  friend bool operator==(const CalibrationConfig&, const CalibrationConfig&) = default;
};

}  // namespace fl
