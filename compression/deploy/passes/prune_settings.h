#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fl/compression/deploy/fine_tune.h"
#include "fl/compression/deploy/importance.h"
#include "fl/compression/deploy/prune_channels.h"

namespace fl::deploy {

std::string_view CriterionName(Criterion criterion);

// "11978 of 46730 parameters, 88512 of 295808 MACs", and the figures of it.
void ReportSizes(const ModelSize& before, const ModelSize& after, PassReport& report);

// Reads the settings that the passes which prune have in common. Used as Fields is: the errors come
// with Finish, which calls that of the fields.
class PruneSettings {
 public:
  explicit PruneSettings(Fields& fields) : fields_(fields) {}

  // `criterion`, `gradient_batches`, and, of the criterion "own", `scores` (lines as ParseScores
  // reads them) or, where the list is not a device's, `scores_file` (a path).
  void ReadImportance(ImportanceConfig& config);
  // `macs_share`, `parameters_share`, `macs_max`, `parameters_max`.
  void ReadBudget(SizeBudget& budget);
  // `finetune` (steps; 0: none) and, for them, `learning_rate` (0.02), `batch`, `momentum`,
  // `weight_decay`, `alpha`, `temperature`, `warmup` (a tenth of the steps), `clip`.
  void ReadTraining(std::uint32_t& steps, FineTuneConfig& config);
  Result<> Finish();

 private:
  Result<> TakeScores();

  Fields& fields_;
  ImportanceConfig* importance_ = nullptr;
  std::vector<std::string> lines_;
  std::string file_;
};

// The training after each step of pruning: against the global model, masks kept.
class TrainingBetween {
 public:
  // All outlive this object.
  TrainingBetween(std::uint32_t steps, const FineTuneConfig& config, const PassInputs& inputs)
      : steps_(steps), config_(config), inputs_(inputs) {}

  // Empty without steps. This object must outlive it.
  Retrain AsRetrain();
  // Adds what the last training came to; a refusal when one failed.
  void Report(std::string_view pass, PassReport& report) const;

 private:
  Result<> Train(std::uint32_t step, WorkingModel& model);

  std::uint32_t steps_;
  const FineTuneConfig& config_;
  const PassInputs& inputs_;
  std::optional<FineTuned> last_;
  bool failed_ = false;
};

}  // namespace fl::deploy
