#include "fl/compression/deploy/passes/fine_tune.h"

namespace fl::deploy {

Result<std::shared_ptr<const Pass>> ReadFineTune(Fields& fields) {
  FineTunePassConfig config;
  fields.Flag("teacher", config.teacher);
  ReadFineTuneConfig(fields, config.training);
  FL_TRY_OK(fields.Finish());
  return std::shared_ptr<const Pass>(std::make_shared<FineTunePass>(config));
}

Result<> FineTunePass::Run(const PassInputs& inputs, WorkingModel& model,
                           PassReport& report) const {
  const auto outcome = FineTune(
      config_.training, {.graph = model.graph,
                         .start = model.parameters,
                         .masks = model.masks,
                         .teacher = config_.teacher ? std::optional(inputs.teacher) : std::nullopt,
                         .training = inputs.training,
                         .rng = inputs.rng,
                         .stop = inputs.stop});
  if (!outcome) return outcome.error().At(name());
  model.parameters = outcome->parameters;
  ReportFineTuned(*outcome, report);
  if (!outcome->converged) report.refusal = "fine_tune: training failed in every attempt";
  return {};
}

}  // namespace fl::deploy
