#include "fl/compression/deploy/passes/ptq_dynamic.h"

#include "fl/compression/deploy/passes/weight_settings.h"

namespace fl::deploy {

Result<std::shared_ptr<const Pass>> ReadPtqDynamic(Fields& fields) {
  PtqDynamicConfig config;
  const WeightSettings weights(fields, {});
  FL_TRY(config.weights, weights.Finish());
  return std::shared_ptr<const Pass>(std::make_shared<PtqDynamic>(config));
}

Result<> PtqDynamic::Run(const PassInputs& /*inputs*/, WorkingModel& model,
                         PassReport& report) const {
  const auto plan = PlanFor(model, config_.weights);
  if (!plan) return plan.error().At(name());
  const auto specs = SpecsOf(model.graph, *plan);
  if (!specs) return specs.error().At(name());
  auto quantized = nn::QuantizeDynamic(model.graph, model.current_parameters(), *specs,
                                       model.rounded ? model.rounded->grids : nn::WeightGrids());
  if (!quantized) return quantized.error().At(name());
  model.quantized = *std::move(quantized);
  report.summary = "weights as integers, activations rounded in each run; no sample was looked at";
  return {};
}

}  // namespace fl::deploy
