#include "fl/server/strategy/strategy.h"

namespace fl::server {

std::vector<float> FedAvg::Step(std::span<const float> model, std::span<const float> delta,
                                StateTensors& /*state*/) const {
  FL_CHECK(model.size() == delta.size(), "model and delta have one layout");
  std::vector<float> wanted(model.begin(), model.end());
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] += server_step_ * delta[i];
  return wanted;
}

std::unique_ptr<Strategy> MakeStrategy(const AggregationConfig& config) {
  FL_CHECK(config.strategy == "fedavg", "a plan's strategy is checked");
  return std::make_unique<FedAvg>(config.server_step);
}

}  // namespace fl::server
