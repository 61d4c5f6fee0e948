#pragma once

#include <memory>

#include "fl/compression/deploy/fine_tune.h"
#include "fl/compression/deploy/prune_weights.h"

namespace fl::deploy {

// `prune_weights`: zeroes weights one by one, n of m, or in blocks of four output channels, along a
// cubic schedule with training against the global model in between; see deploy/prune_weights.h.
struct PruneWeightsPassConfig {
  PruneWeightsConfig prune;
  std::uint32_t finetune = 0;  // Training steps after each step of the schedule; 0: none.
  FineTuneConfig training;     // Its other settings.
};

class PruneWeightsPass final : public Pass {
 public:
  explicit PruneWeightsPass(PruneWeightsPassConfig config) : config_(std::move(config)) {}
  const PruneWeightsPassConfig& config() const { return config_; }

  std::string_view name() const override { return "prune_weights"; }
  PassStage stage() const override { return PassStage::kPrune; }
  // The report says what the sparsity buys. Refuses the model when every attempt of a training
  // failed. Errors: of PruneWeights and FineTune.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  PruneWeightsPassConfig config_;
};

// Keys: `criterion`, `scores`, `scores_file`, `gradient_batches`, `scope` ("layer", "global"),
// `pattern` ("element", "block4", "2:4" or another N:M), `sparsity`, `layer_cap`, `steps`,
// `layers`, `finetune`, and those of PruneSettings::ReadTraining.
Result<std::shared_ptr<const Pass>> ReadPruneWeights(Fields& fields);

}  // namespace fl::deploy
