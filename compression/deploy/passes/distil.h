#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fl/compression/deploy/data_free.h"
#include "fl/compression/deploy/fine_tune.h"
#include "fl/compression/deploy/hint_loss.h"

namespace fl::deploy {

// Who learns beside the student (MutualLearning).
enum class Peer : std::uint8_t {
  kNone,
  kTeacher,  // The global model, which goes on from where it is.
  kTwin,     // A network of the student's layers, drawn anew.
};

// `distil`: trains the model, or a new small network (the student), on the local data to say what
// the global model (the teacher) says; the loss is FineTuneConfig's (Hinton et al. 2015,
// arXiv:1503.02531). At most one of `hints`, `peer` and `exits`.
struct DistilConfig {
  std::vector<std::string> layers;  // The student's, as in [model]; none: the model itself goes on.
  nn::Graph student;  // Of `layers`, built and checked against the teacher's input and output.
  FineTuneConfig training;
  HintConfig hints;  // Inner values that are to agree as well (HintLoss).
  Peer peer = Peer::kNone;
  std::vector<std::string>
      exits;                // Layers with an exit behind, which the output teaches (ExitLoss).
  bool keep_exits = false;  // Else they are thrown away after training.
  // Further students, drawn anew, each taught by the one before (Furlanello et al. 2018,
  // arXiv:1805.04770).
  std::uint32_t born_again = 0;
  // Instead of the local samples, made ones (SynthesizeSamples); the local calibration samples, if
  // there are any, give no more than moments.
  std::optional<DataFreeConfig> data_free;
};

class Distil final : public Pass {
 public:
  explicit Distil(DistilConfig config) : config_(std::move(config)) {}
  const DistilConfig& config() const { return config_; }

  std::string_view name() const override { return "distil"; }
  PassStage stage() const override { return PassStage::kTrain; }
  bool replaces_model() const override { return !config_.layers.empty(); }
  // Refuses the model when no attempt succeeded. Errors of FineTune and of what is added to it.
  Result<> Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const override;

 private:
  Result<FineTuned> Train(const PassInputs& inputs, const Teacher& teacher,
                          const data::Subset& training, WorkingModel& model) const;
  Result<FineTuned> TrainWithExits(const FineTuneInputs& inputs, WorkingModel& model) const;

  DistilConfig config_;
};

// Keys: `layers`, and those of ReadFineTuneConfig; `hints` (["STUDENT=TEACHER", ...], names of
// layers), `hint_kind` ("map", "attention"), `hint_weight`; `mutual` ("teacher", "twin"); `exits`
// (names of layers), `keep_exits`; `born_again` (a count); `data_free` ("statistics",
// "generator"), `made_samples`, `made_steps`.
Result<std::shared_ptr<const Pass>> ReadDistil(Fields& fields);

}  // namespace fl::deploy
