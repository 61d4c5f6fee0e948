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

Result<> PtqStatic::Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const {
  if (inputs.profile != nullptr && !HasType(*inputs.profile, "int8")) {
    return Error{ErrorCode::kUnsupported,
                 "ptq_static: the device of the profile has no int8, so the list must do without"};
  }
  const SampleBlock samples = CalibrationSamples(inputs, config_.samples);
  const auto method = config_.observer == Observer::kMinMax ? nn::RangeMethod::kMinMax
                                                            : nn::RangeMethod::kSquaredError;
  const auto ranges =
      nn::ObserveRanges(model.graph, model.parameters, samples.values, samples.count, method);
  if (!ranges) return ranges.error().At(name());
  auto quantized = nn::Quantize(model.graph, model.parameters, *ranges);
  if (!quantized) return quantized.error().At(name());
  model.quantized = *std::move(quantized);
  report.summary = "int8, calibrated on " + std::to_string(samples.count) + " samples" +
                   (samples.count < 64 ? " (few)" : "");
  report.figures = {{"samples", static_cast<double>(samples.count)}};
  return {};
}

}  // namespace fl::deploy
