#include "fl/compression/deploy/passes/ptq_dynamic.h"

#include "fl/compression/deploy/weight_settings.h"

namespace fl::deploy {

Result<std::shared_ptr<const Pass>> ReadPtqDynamic(Fields& fields) {
  PtqDynamicConfig config;
  FL_TRY_OK(ReadWeightSpec(fields, config.weights));
  FL_TRY_OK(fields.Finish());
  return std::shared_ptr<const Pass>(std::make_shared<PtqDynamic>(config));
}

Result<> PtqDynamic::Run(const PassInputs& /*inputs*/, WorkingModel& model,
                         PassReport& report) const {
  const auto specs = SpecsOf(model.graph, {config_.weights, model.precision});
  if (!specs) return specs.error().At(name());
  auto quantized = nn::QuantizeDynamic(model.graph, model.current_parameters(), *specs,
                                       model.rounded ? model.rounded->grids : nn::WeightGrids());
  if (!quantized) return quantized.error().At(name());
  model.quantized = *std::move(quantized);
  report.summary = "weights as integers, activations rounded in each run; no sample was looked at";
  return {};
}

}  // namespace fl::deploy
