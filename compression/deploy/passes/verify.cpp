#include "fl/compression/deploy/passes/verify.h"

#include <cstdio>

#include "fl/compression/deploy/fake_quantize.h"

namespace fl::deploy {
namespace {

// Compares the integer model with its simulation; a refusal where they differ by too much.
Result<> Simulate(const PassInputs& inputs, const nn::QuantizedModel& model, double lsb_max,
                  PassReport& report) {
  const data::Subset& subset = inputs.verification;
  const std::size_t features = subset.dataset().features();
  std::vector<float> samples(subset.count() * features);
  for (std::size_t i = 0; i < subset.count(); ++i)
    subset.CopySample(i, std::span(samples).subspan(i * features, features));
  FL_TRY(const EngineDifference difference, CompareWithEngine(model, samples, subset.count()));
  char text[120];
  std::snprintf(text, sizeof(text),
                "simulation within %.3g units, %.1f %% of outputs the same bits",
                difference.lsb_max, 100 * difference.exact);
  report.summary += std::string(", ") + text;
  report.figures.push_back({"lsb", difference.lsb_max});
  report.figures.push_back({"same_bits", difference.exact});
  if (difference.lsb_max <= lsb_max) return {};
  std::snprintf(text, sizeof(text),
                "verify: expected the simulation within %g units of the engine, found %.3g",
                lsb_max, difference.lsb_max);
  report.refusal = text;
  return {};
}

}  // namespace

Result<std::shared_ptr<const Pass>> ReadVerify(Fields& fields) {
  VerifyConfig config;
  fields.Number("lsb_max", config.lsb_max, 0, 255);
  FL_TRY_OK(fields.Finish());
  return std::shared_ptr<const Pass>(std::make_shared<Verify>(config));
}

Result<> Verify::Run(const PassInputs& inputs, WorkingModel& model, PassReport& report) const {
  Measured measured;
  FL_TRY(measured.teacher_accuracy,
         Accuracy(inputs.teacher.graph, inputs.teacher.parameters, inputs.verification));
  FL_TRY(const double float_accuracy, Accuracy(model.graph, model.parameters, inputs.verification));
  measured.local_accuracy = float_accuracy;
  if (model.quantized) {
    FL_TRY(measured.local_accuracy, Accuracy(*model.quantized, inputs.verification));
  }
  measured.majority_share = MajorityShare(inputs.verification);
  char text[200];
  std::snprintf(text, sizeof(text),
                "%zu samples, global model %.2f %%, fp32 %.2f %%, %s %.2f %%, most frequent class "
                "%.2f %%",
                inputs.verification.count(), 100 * measured.teacher_accuracy, 100 * float_accuracy,
                model.quantized ? "int8" : "as written", 100 * measured.local_accuracy,
                100 * measured.majority_share);
  report.summary = text;
  report.measured = measured;
  if (!config_.lsb_max || !model.quantized) return {};
  return Simulate(inputs, *model.quantized, *config_.lsb_max, report);
}

}  // namespace fl::deploy
