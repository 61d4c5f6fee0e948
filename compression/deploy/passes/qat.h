#pragma once

#include <memory>

#include "fl/compression/deploy/fine_tune.h"
#include "fl/compression/deploy/quantization_training.h"
#include "fl/compression/deploy/round_weights.h"

namespace fl::deploy {

// `qat`: quantization-aware training (quantization_training.h). Trains with the weights rounded as
// the nodes' precision says (mixed precision decided it, else this pass's settings) and activations
// rounded to 8 bits, so that the model learns to live with it; then fixes grids and ranges, which
// ptq_static obeys: the integers that are deployed are those that were trained. Batch norms must be
// folded before. Masks are kept.
struct QatConfig {
  bool teacher = true;  // Learn from the global model, too; distil's loss.
  // A tenth of fine_tune's learning rate and epochs: the model only has to adapt.
  FineTuneConfig training = {.epochs = 1, .learning_rate = 0.005};
  QuantizationTrainingConfig quantization;
  std::uint32_t samples = 512;  // Calibration samples that the first ranges come from, >= 1.
  WeightPlan weights;           // Of nodes that no earlier pass decided on.
};

class Qat final : public Pass {
 public:
  explicit Qat(const QatConfig& config) : config_(config) {}
  const QatConfig& config() const { return config_; }

  std::string_view name() const override { return "qat"; }
  PassStage stage() const override { return PassStage::kRound; }
  // Refuses the model when every attempt failed. kUnsupported: a batch norm; the errors of
  // PlanFor, FineTune, nn::ObserveRanges (calibration samples that are empty, constant or not
  // finite) and nn::FitWeightGrid.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  QatConfig config_;
};

// Keys: `teacher`, those of ReadFineTuneConfig, `learned_steps`, `observe` (share of the steps),
// `moving_share`, `samples`, and those of WeightSettings.
Result<std::shared_ptr<const Pass>> ReadQat(Fields& fields);

}  // namespace fl::deploy
