#pragma once

#include <memory>

#include "fl/compression/deploy/fine_tune.h"
#include "fl/compression/deploy/prune_channels.h"

namespace fl::deploy {

// `prune_channels`: removes channels of convolutions and neurons of dense layers, in steps, each
// followed by a training against the global model; see deploy/prune_channels.h.
struct PruneChannelsPassConfig {
  PruneChannelsConfig prune;
  std::uint32_t finetune = 0;  // Training steps after each step of removing; 0: none.
  FineTuneConfig training;     // Its other settings.
};

class PruneChannelsPass final : public Pass {
 public:
  explicit PruneChannelsPass(PruneChannelsPassConfig config) : config_(std::move(config)) {}
  const PruneChannelsPassConfig& config() const { return config_; }

  std::string_view name() const override { return "prune_channels"; }
  PassStage stage() const override { return PassStage::kPrune; }
  // Refuses the model when a budget was not reached, and says what was, or when every attempt of a
  // training failed. Errors: of PruneChannels and FineTune.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  PruneChannelsPassConfig config_;
};

// Keys: `criterion` ("l1", ...; see kCriterionNames), `scores` (["conv1 0.5 0.2 ..."]),
// `scores_file` (not on a device), `gradient_batches`, `scope` ("layer", "global"), `granularity`
// ("channel", "neuron", "both"), `keep`, `macs_share`, `parameters_share`, `macs_max`,
// `parameters_max`, `layer_cap`, `multiple`, `steps`, `layers`, `absorb_bias`, `finetune`, and
// those of PruneSettings::ReadTraining.
Result<std::shared_ptr<const Pass>> ReadPruneChannels(Fields& fields);

}  // namespace fl::deploy
