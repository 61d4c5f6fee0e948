#pragma once

#include <memory>

#include "fl/compression/deploy/fine_tune.h"
#include "fl/compression/deploy/prune_layers.h"

namespace fl::deploy {

// `prune_layers`: removes residual branches and layers as a whole, those that are missed least,
// with training against the global model after each; see deploy/prune_layers.h.
struct PruneLayersPassConfig {
  PruneLayersConfig prune;
  std::uint32_t finetune = 0;  // Training steps after each cut; 0: none.
  FineTuneConfig training;     // Its other settings.
};

class PruneLayersPass final : public Pass {
 public:
  explicit PruneLayersPass(PruneLayersPassConfig config) : config_(std::move(config)) {}
  const PruneLayersPassConfig& config() const { return config_; }

  std::string_view name() const override { return "prune_layers"; }
  PassStage stage() const override { return PassStage::kPrune; }
  // Refuses the model when fewer layers could go than were to, and says what was reached, or when
  // every attempt of a training failed. Errors: of PruneLayers and FineTune.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  PruneLayersPassConfig config_;
};

// Keys: `count`, `macs_share`, `parameters_share`, `macs_max`, `parameters_max`, `samples`,
// `layers`, `finetune`, and those of PruneSettings::ReadTraining.
Result<std::shared_ptr<const Pass>> ReadPruneLayers(Fields& fields);

}  // namespace fl::deploy
