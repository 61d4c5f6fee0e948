#pragma once

#include <memory>

#include "fl/compression/deploy/correct_bias.h"
#include "fl/compression/deploy/fields.h"
#include "fl/compression/deploy/pass.h"

namespace fl::deploy {

struct CorrectBiasConfig {
  std::uint32_t samples = 512;  // Calibration samples at most, >= 1.
  WeightPlan weights;           // Of nodes that no earlier pass decided on.
};

// `correct_bias`: takes away what rounding shifts in each output channel's mean (see CorrectBias),
// where that brings the model's outputs nearer to those before rounding; else the biases stay.
// Writes WorkingModel::rounded and the codings of all nodes, which ptq_static obeys.
class CorrectBiasPass final : public Pass {
 public:
  explicit CorrectBiasPass(CorrectBiasConfig config) : config_(std::move(config)) {}
  const CorrectBiasConfig& config() const { return config_; }

  std::string_view name() const override { return "correct_bias"; }
  PassStage stage() const override { return PassStage::kCorrectBias; }
  // The errors of nn::ObserveRanges, RoundIfPlain and CorrectBias.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  CorrectBiasConfig config_;
};

// Keys: `samples` and those of WeightSettings (bits = 8).
Result<std::shared_ptr<const Pass>> ReadCorrectBias(Fields& fields);

}  // namespace fl::deploy
