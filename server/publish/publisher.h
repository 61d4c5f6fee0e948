#pragma once

#include <span>
#include <vector>

namespace fl::server {

// What clients will hold, bit for bit, and what of the wanted model that leaves out.
struct Publication {
  std::vector<float> model;
  std::vector<float> residual;  // Empty: nothing.
};

// Turns the wanted model into the published one. `residual` is what earlier publications left out,
// empty at first. This one is the identity: it publishes the wanted model as it is. Thread safety:
// shared objects safe.
class Publisher {
 public:
  Publication Publish(std::vector<float> wanted, std::span<const float> residual) const;
};

}  // namespace fl::server
