#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/compression/check_plan.h"
#include "fl/server/fold/fold.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

// Durable named tensors, by name; absent before the first step.
using StateTensors = std::map<std::string, std::vector<float>>;

// How the aggregate of a round becomes the wanted next model. A pure function of its arguments:
// what it remembers from round to round is in `state`. Thread safety: shared objects safe.
class Strategy {
 public:
  virtual ~Strategy() = default;
  // `model` and the aggregate's values have the same layout; the result is the wanted model.
  virtual std::vector<float> Step(std::span<const float> model, const StreamAggregate& delta,
                                  StateTensors& state) const = 0;
};

// Federated averaging (McMahan et al. 2017, arXiv:1602.05629): wanted = model + server_step x mean
// delta. Keeps no state.
class FedAvg final : public Strategy {
 public:
  explicit FedAvg(double server_step) : server_step_(static_cast<float>(server_step)) {}
  std::vector<float> Step(std::span<const float> model, const StreamAggregate& delta,
                          StateTensors& state) const override;

 private:
  float server_step_;
};

// The strategy of a plan that was checked, which outlives it.
std::unique_ptr<Strategy> MakeStrategy(const CheckedPlan& plan);

}  // namespace fl::server
