#include "fl/server/strategy/strategy.h"

#include "fl/common/base/check.h"
#include "fl/server/strategy/fetch_sgd.h"

namespace fl::server {

std::vector<float> FedAvg::Step(std::span<const float> model, const StreamAggregate& delta,
                                StateTensors& /*state*/) const {
  FL_CHECK(model.size() == delta.values.size(), "model and delta have one layout");
  std::vector<float> wanted(model.begin(), model.end());
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] += server_step_ * delta.values[i];
  return wanted;
}

std::unique_ptr<Strategy> MakeStrategy(const CheckedPlan& plan) {
  const AggregationConfig& config = plan.plan.aggregation;
  if (config.strategy == "fetch_sgd") {
    return std::make_unique<FetchSgd>(
        FetchSgdConfig{config.server_step, config.momentum, config.keep}, plan.delta);
  }
  FL_CHECK(config.strategy == "fedavg", "a plan's strategy is checked");
  return std::make_unique<FedAvg>(config.server_step);
}

}  // namespace fl::server
