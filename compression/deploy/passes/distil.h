#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fl/compression/deploy/fine_tune.h"

namespace fl::deploy {

// `distil`: trains the model, or a new small network (the student), on the local data to say what
// the global model (the teacher) says; the loss is FineTuneConfig's (Hinton et al. 2015,
// arXiv:1503.02531).
struct DistilConfig {
  std::vector<std::string> layers;  // The student's, as in [model]; none: the model itself goes on.
  nn::Graph student;  // Of `layers`, built and checked against the teacher's input and output.
  FineTuneConfig training;
};

class Distil final : public Pass {
 public:
  explicit Distil(DistilConfig config) : config_(std::move(config)) {}
  const DistilConfig& config() const { return config_; }

  std::string_view name() const override { return "distil"; }
  PassStage stage() const override { return PassStage::kTrain; }
  bool replaces_model() const override { return !config_.layers.empty(); }
  // Refuses the model when no attempt succeeded. FineTune's errors.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  DistilConfig config_;
};

// Keys: `layers`, and those of ReadFineTuneConfig.
Result<std::shared_ptr<const Pass>> ReadDistil(Fields& fields);

}  // namespace fl::deploy
