#pragma once

#include <memory>

#include "fl/compression/deploy/adaround.h"
#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

struct AdaRoundPassConfig {
  std::uint32_t samples = 1024;  // Calibration samples at most, >= 1.
  WeightPlan weights{{.bits = 4}, {}};
  AdaRoundConfig learn;  // Its stream is the pass's.
};

// `adaround`: learns for each weight whether it is rounded up or down (see AdaRound). Writes
// WorkingModel::rounded and the codings of all nodes, which ptq_static obeys; pruned weights stay
// zero.
class AdaRoundPass final : public Pass {
 public:
  explicit AdaRoundPass(AdaRoundPassConfig config) : config_(std::move(config)) {}
  const AdaRoundPassConfig& config() const { return config_; }

  std::string_view name() const override { return "adaround"; }
  PassStage stage() const override { return PassStage::kRound; }
  // The errors of nn::ObserveRanges, RoundIfPlain and AdaRound.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  AdaRoundPassConfig config_;
};

// Keys: those of WeightSettings (bits = 4), `samples`, `iterations`, `batch`, `learning_rate`,
// `regularizer`, `warm_start`, `bits_max` (layers of more bits keep the nearest values).
Result<std::shared_ptr<const Pass>> ReadAdaRound(Fields& fields);

}  // namespace fl::deploy
