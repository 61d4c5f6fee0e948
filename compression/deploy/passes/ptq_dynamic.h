#pragma once

#include <memory>

#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/pass.h"
#include "fl/compression/deploy/round_weights.h"

namespace fl::deploy {

// `ptq_dynamic`: weights to integers, a scale for each channel, or as earlier passes decided
// (WorkingModel::precision, rounded); activations are rounded on the device, sample by sample over
// the values that are there (nn::QuantizedModel::dynamic). It looks at no sample: for devices
// without calibration data, and for inputs whose size varies, which fixed ranges would cut off.
struct PtqDynamicConfig {
  WeightPlan weights;  // Of nodes that no earlier pass decided on.
};

class PtqDynamic final : public Pass {
 public:
  explicit PtqDynamic(const PtqDynamicConfig& config) : config_(config) {}
  const PtqDynamicConfig& config() const { return config_; }

  std::string_view name() const override { return "ptq_dynamic"; }
  PassStage stage() const override { return PassStage::kQuantize; }
  // The errors of PlanFor and nn::QuantizeDynamic.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  PtqDynamicConfig config_;
};

// Keys: those of WeightSettings.
Result<std::shared_ptr<const Pass>> ReadPtqDynamic(Fields& fields);

}  // namespace fl::deploy
