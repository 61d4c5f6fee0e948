#pragma once

#include <memory>

#include "fl/compression/deploy/fine_tune.h"

namespace fl::deploy {

// `fine_tune`: trains the model as it is on the local data: labels alone, or beside what the global
// model says. Masks are kept.
struct FineTunePassConfig {
  bool teacher = false;  // Learn from the global model, too; distil's loss.
  FineTuneConfig training;
};

class FineTunePass final : public Pass {
 public:
  explicit FineTunePass(const FineTunePassConfig& config) : config_(config) {}
  const FineTunePassConfig& config() const { return config_; }

  std::string_view name() const override { return "fine_tune"; }
  PassStage stage() const override { return PassStage::kTrain; }
  // Refuses the model when every attempt failed. FineTune's errors.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  FineTunePassConfig config_;
};

// Keys: `teacher` (false), and those of ReadFineTuneConfig.
Result<std::shared_ptr<const Pass>> ReadFineTune(Fields& fields);

}  // namespace fl::deploy
