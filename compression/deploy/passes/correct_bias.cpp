#include "fl/compression/deploy/passes/correct_bias.h"

#include <cstdio>

#include "fl/compression/deploy/calibration_samples.h"
#include "fl/compression/deploy/passes/weight_settings.h"

namespace fl::deploy {
namespace {

// Mean square of what the model's outputs differ by.
Result<double> OutputError(const WorkingModel& model, std::span<const float> parameters,
                           const nn::SampleValues& samples) {
  const std::size_t last = model.graph.nodes.size() - 1;
  FL_TRY(const std::vector<float> wanted,
         nn::OutputsOf(model.graph, model.parameters, samples, last));
  FL_TRY(const std::vector<float> found, nn::OutputsOf(model.graph, parameters, samples, last));
  double sum = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double difference = static_cast<double>(found[i]) - static_cast<double>(wanted[i]);
    sum += difference * difference;
  }
  return sum / static_cast<double>(wanted.size());
}

}  // namespace

Result<std::shared_ptr<const Pass>> ReadCorrectBias(Fields& fields) {
  CorrectBiasConfig config;
  const WeightSettings weights(fields, config.weights.spec);
  fields.Number("samples", config.samples, 1, 1e6);
  FL_TRY(config.weights, weights.Finish());
  return std::shared_ptr<const Pass>(std::make_shared<CorrectBiasPass>(std::move(config)));
}

Result<> CorrectBiasPass::Run(const PassInputs& inputs, WorkingModel& model,
                              PassReport& report) const {
  const SampleBlock block = CalibrationSamples(inputs, config_.samples);
  const nn::SampleValues samples{block.values, block.count};
  const auto ranges = RoundAndObserve(config_.weights, samples, model);
  if (!ranges) return ranges.error().At(name());
  RoundedWeights corrected = *model.rounded;
  const auto outcome = CorrectBias(model.graph, model.parameters, samples, *ranges, corrected);
  if (!outcome) return outcome.error().At(name());
  FL_TRY(const double before, OutputError(model, model.rounded->parameters, samples));
  FL_TRY(const double after, OutputError(model, corrected.parameters, samples));
  const bool better = after < before;
  if (better) model.rounded = std::move(corrected);
  char text[200];
  std::snprintf(text, sizeof(text),
                "%zu layers, largest shift %.3g, squared error of the outputs %.3g to %.3g%s",
                outcome->layers, outcome->largest_shift, before, after,
                better ? "" : ": the biases stay as they were");
  report.summary = text;
  report.figures = {{"layers", static_cast<double>(outcome->layers)},
                    {"largest_shift", outcome->largest_shift},
                    {"error_before", before},
                    {"error_after", after},
                    {"kept", better ? 1.0 : 0.0}};
  return {};
}

}  // namespace fl::deploy
