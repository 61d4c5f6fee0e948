#include "fl/compression/deploy/passes/ptq_static.h"

#include <array>

#include "fl/common/nn/calibrate.h"
#include "fl/compression/deploy/calibration_samples.h"
#include "fl/compression/deploy/passes/weight_settings.h"

namespace fl::deploy {
namespace {

constexpr std::array<std::string_view, 5> kObservers = {"minmax", "moving_average", "percentile",
                                                        "mse", "kl"};

void ApplyLearnedRanges(const WorkingModel& model, std::span<nn::ActivationRange> ranges) {
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const auto learned = model.ranges.find(model.graph.nodes[i].name);
    if (learned != model.ranges.end()) ranges[i] = learned->second;
  }
}

// A parameter of one observer, set beside another.
Result<> CheckObserver(const Fields& fields, const PtqStaticConfig& config) {
  const auto only = [&](std::string_view key, nn::RangeMethod method) -> Result<> {
    if (config.ranges.method == method) return {};
    return fields.Fail(key, "only observer = \"" +
                                std::string(kObservers[static_cast<std::size_t>(method)]) +
                                "\" has it");
  };
  if (config.ranges.percentile != 0) FL_TRY_OK(only("percentile", nn::RangeMethod::kPercentile));
  if (config.moving_share != PtqStaticConfig().moving_share)
    FL_TRY_OK(only("moving_share", nn::RangeMethod::kMovingAverage));
  return {};
}

}  // namespace

Result<std::shared_ptr<const Pass>> ReadPtqStatic(Fields& fields) {
  PtqStaticConfig config;
  fields.Number("samples", config.samples, 1, 1e6);
  config.ranges.method = static_cast<nn::RangeMethod>(fields.Word(
      "observer", kObservers, static_cast<std::size_t>(nn::RangeMethod::kSquaredError)));
  fields.Number("percentile", config.ranges.percentile, 50.001, 100);
  fields.Number("moving_share", config.moving_share, 1e-6, 1);
  fields.Flag("symmetric_activations", config.ranges.symmetric);
  const WeightSettings weights(fields, config.weights.spec);
  FL_TRY(config.weights, weights.Finish());
  FL_TRY_OK(CheckObserver(fields, config));
  return std::shared_ptr<const Pass>(std::make_shared<PtqStatic>(std::move(config)));
}

Result<> PtqStatic::Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const {
  if (inputs.profile != nullptr && !HasType(*inputs.profile, "int8")) {
    return Error{ErrorCode::kUnsupported,
                 "ptq_static: the device of the profile has no int8, so the list must do without"};
  }
  const SampleBlock samples = CalibrationSamples(inputs, config_.samples);
  const auto plan = PlanFor(model, config_.weights);
  if (!plan) return plan.error().At(name());
  const auto specs = SpecsOf(model.graph, *plan);
  if (!specs) return specs.error().At(name());
  const auto calibration = nn::Calibrate(model.graph, model.current_parameters(), samples.values,
                                         samples.count, config_.moving_share);
  if (!calibration) return calibration.error().At(name());
  auto ranges = calibration->Ranges(config_.ranges);
  if (!ranges) return ranges.error().At(name());
  ApplyLearnedRanges(model, *ranges);
  auto quantized = nn::Quantize(model.graph, model.current_parameters(), *ranges, *specs,
                                model.rounded ? model.rounded->grids : nn::WeightGrids());
  if (!quantized) return quantized.error().At(name());
  model.quantized = *std::move(quantized);
  report.summary = "weights of " + DescribeCodings(model.graph, *specs) +
                   ", activations of 8, calibrated on " + std::to_string(samples.count) +
                   " samples";
  if (samples.count < nn::kCalibrationSamplesFew) {
    report.summary += " (warning: fewer than " + std::to_string(nn::kCalibrationSamplesFew) +
                      ", so ranges may be off)";
  }
  report.figures = {{"samples", static_cast<double>(samples.count)},
                    {"weight_bits", MeanBits(model.graph, *specs)}};
  return {};
}

}  // namespace fl::deploy
