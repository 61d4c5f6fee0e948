#include "fl/compression/deploy/passes/ptq_static.h"

#include <array>

#include "fl/common/nn/calibrate.h"
#include "fl/compression/deploy/calibration_samples.h"

namespace fl::deploy {

Result<std::shared_ptr<const Pass>> ReadPtqStatic(Fields& fields) {
  PtqStaticConfig config;
  fields.Number("samples", config.samples, 1, 1e6);
  constexpr std::array<std::string_view, 2> kObservers = {"minmax", "mse"};
  config.observer =
      fields.Word("observer", kObservers, 1) == 0 ? Observer::kMinMax : Observer::kMse;
  constexpr std::array<std::string_view, 1> kWeights = {"channel"};
  fields.Word("weights", kWeights, 0);
  FL_TRY_OK(fields.Finish());
  return std::shared_ptr<const Pass>(std::make_shared<PtqStatic>(config));
}

namespace {

void ApplyLearnedRanges(const WorkingModel& model, std::span<nn::ActivationRange> ranges) {
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const auto learned = model.ranges.find(model.graph.nodes[i].name);
    if (learned != model.ranges.end()) ranges[i] = learned->second;
  }
}

}  // namespace

Result<> PtqStatic::Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const {
  const SampleBlock samples = CalibrationSamples(inputs, config_.samples);
  const auto method = config_.observer == Observer::kMinMax ? nn::RangeMethod::kMinMax
                                                            : nn::RangeMethod::kSquaredError;
  auto ranges = nn::ObserveRanges(model.graph, model.current_parameters(), samples.values,
                                  samples.count, method);
  if (!ranges) return ranges.error().At(name());
  ApplyLearnedRanges(model, *ranges);
  const auto specs = SpecsOf(model.graph, {config_.weights, model.precision});
  if (!specs) return specs.error().At(name());
  auto quantized = nn::Quantize(model.graph, model.current_parameters(), *ranges, *specs,
                                model.rounded ? model.rounded->grids : nn::WeightGrids());
  if (!quantized) return quantized.error().At(name());
  model.quantized = *std::move(quantized);
  report.summary = "int8, calibrated on " + std::to_string(samples.count) + " samples" +
                   (samples.count < 64 ? " (few)" : "");
  report.figures = {{"samples", static_cast<double>(samples.count)}};
  return {};
}

}  // namespace fl::deploy
