#include "fl/compression/deploy/passes/prune_layers.h"

#include "fl/compression/deploy/passes/prune_settings.h"

namespace fl::deploy {

Result<std::shared_ptr<const Pass>> ReadPruneLayers(Fields& fields) {
  PruneLayersPassConfig config;
  PruneSettings settings(fields);
  fields.Number("count", config.prune.count, 1, 1000);
  settings.ReadBudget(config.prune.budget);
  fields.Number("samples", config.prune.samples, 1, 1e6);
  fields.Texts("layers", "[\"add1\"]", config.prune.layers);
  settings.ReadTraining(config.finetune, config.training);
  FL_TRY_OK(settings.Finish());
  return std::shared_ptr<const Pass>(std::make_shared<PruneLayersPass>(std::move(config)));
}

Result<> PruneLayersPass::Run(const PassInputs& inputs, WorkingModel& model,
                              PassReport& report) const {
  TrainingBetween training(config_.finetune, config_.training, inputs);
  const auto outcome = PruneLayers(config_.prune, {inputs.training, inputs.rng.Child("loss")},
                                   training.AsRetrain(), model);
  if (!outcome) return outcome.error().At(name());
  ReportSizes(outcome->before, outcome->after, report);
  for (std::size_t i = 0; i < outcome->cuts.size(); ++i)
    report.summary += (i == 0 ? ", without " : ", ") + outcome->cuts[i];
  training.Report(name(), report);
  if (!outcome->unreached.empty()) report.refusal = std::string(name()) + ": " + outcome->unreached;
  return {};
}

}  // namespace fl::deploy
