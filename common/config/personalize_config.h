#pragma once

#include <cstdint>

namespace fl {

// [deployment.personalize]: a device first trains the global model on its own samples, with a pull
// back to the global weights; the pass list starts from the outcome where the hold-out says that it
// is better.
struct PersonalizeConfig {
  std::uint32_t steps = 0;      // Training steps; 0: none, the global model as it is.
  std::uint32_t batch = 32;     // Samples a step, >= 1.
  double learning_rate = 0.01;  // > 0.
  double proximal = 0.1;        // mu of mu / 2 * |w - w_global|^2, >= 0.
};

}  // namespace fl
