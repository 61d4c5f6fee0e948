#include "fl/compression/deploy/passes/adaround.h"

#include <cstdio>

#include "fl/compression/deploy/calibration_samples.h"
#include "fl/compression/deploy/passes/weight_settings.h"

namespace fl::deploy {

Result<std::shared_ptr<const Pass>> ReadAdaRound(Fields& fields) {
  AdaRoundPassConfig config;
  AdaRoundConfig& learn = config.learn;
  const WeightSettings weights(fields, config.weights.spec);
  fields.Number("samples", config.samples, 1, 1e6);
  fields.Number("iterations", learn.iterations, 1, 1e6);
  fields.Number("batch", learn.batch, 1, 4096);
  fields.Number("learning_rate", learn.learning_rate, 1e-6, 10);
  fields.Number("regularizer", learn.regularizer, 0, 1000);
  fields.Number("warm_start", learn.warm_start, 0, 0.99);
  fields.Number("bits_max", learn.bits_max, 2, 8);
  FL_TRY(config.weights, weights.Finish());
  return std::shared_ptr<const Pass>(std::make_shared<AdaRoundPass>(std::move(config)));
}

Result<> AdaRoundPass::Run(const PassInputs& inputs, WorkingModel& model,
                           PassReport& report) const {
  const SampleBlock block = CalibrationSamples(inputs, config_.samples);
  const nn::SampleValues samples{block.values, block.count};
  const auto ranges = RoundAndObserve(config_.weights, samples, model);
  if (!ranges) return ranges.error().At(name());
  AdaRoundConfig learn = config_.learn;
  learn.rng = inputs.rng;
  learn.stop = &inputs.stop;
  const auto learned =
      AdaRound(model.graph, model.parameters, samples, *ranges, learn, *model.rounded);
  if (!learned) return learned.error().At(name());
  FL_TRY_OK(ApplyMasks(model.graph, model.masks, model.rounded->parameters));
  char text[160];
  std::snprintf(text, sizeof(text),
                "%zu layers, %zu weights not at their nearest value, error of the layers %.3g to "
                "%.3g",
                learned->layers, learned->changed, learned->error_before, learned->error_after);
  report.summary = text;
  report.figures = {{"layers", static_cast<double>(learned->layers)},
                    {"changed", static_cast<double>(learned->changed)},
                    {"error_before", learned->error_before},
                    {"error_after", learned->error_after}};
  return {};
}

}  // namespace fl::deploy
