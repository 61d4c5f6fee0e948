#include "fl/compression/deploy/run_passes.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/model_file.h"

namespace fl::deploy {
namespace {

// The model between two passes: fp32 until it is quantized.
struct Work {
  nn::Graph graph;
  std::vector<float> parameters;
  std::optional<nn::QuantizedModel> quantized;
};

template <typename... Values>
std::string Format(const char* format, Values... values) {
  char text[200];
  std::snprintf(text, sizeof(text), format, values...);
  return text;
}

Result<> CheckInputs(const PassList& passes, const PassInputs& inputs) {
  if (passes.empty())
    return Error{ErrorCode::kInvalidArgument, "deployment: the plan has no passes"};
  if (inputs.verification.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "deployment: expected samples to verify with, found none held out"};
  }
  const nn::Graph& graph = inputs.teacher.graph;
  const data::Dataset& dataset = inputs.verification.dataset();
  if (dataset.features() != graph.input_shape().count() || dataset.classes() == 0 ||
      dataset.classes() > graph.output_shape().count()) {
    return Error{ErrorCode::kShapeMismatch, "deployment: expected samples of " +
                                                graph.input_shape().ToText() + " in at most " +
                                                std::to_string(graph.output_shape().count()) +
                                                " classes, found " + dataset.shape().ToText() +
                                                " in " + std::to_string(dataset.classes())};
  }
  if (inputs.teacher.parameters.size() != graph.parameters.total()) {
    return Error{ErrorCode::kShapeMismatch, "deployment: expected " +
                                                std::to_string(graph.parameters.total()) +
                                                " parameters of the global model, found " +
                                                std::to_string(inputs.teacher.parameters.size())};
  }
  if (!AllFinite(inputs.teacher.parameters)) {
    return Error{ErrorCode::kNotFinite,
                 "deployment: the global model holds values that are not finite"};
  }
  return {};
}

Result<> RunDistil(const DistilConfig& config, const PassInputs& inputs, Work& work,
                   DeployReport& report) {
  FL_TRY(DistilledStudent student,
         Distil(config, inputs.teacher, inputs.training, inputs.rng.Child("distil"), inputs.stop));
  report.lines.push_back(
      Format("distil: %zu parameters, %zu steps, learning rate %.4g, attempt %u, loss %.3f -> %.3f",
             student.parameters.size(), student.steps, student.learning_rate, student.attempts,
             student.loss_first, student.loss_last));
  if (!student.converged) report.reason = "distil: the student's loss did not fall in any attempt";
  work.graph = config.student;
  work.parameters = std::move(student.parameters);
  return {};
}

// Calibration samples first, then training samples: quantization needs typical inputs, not unseen
// ones.
Result<> RunPtqStatic(const PtqStaticConfig& config, const PassInputs& inputs, Work& work,
                      DeployReport& report) {
  const std::size_t features = inputs.verification.dataset().features();
  std::vector<float> samples;
  std::size_t count = 0;
  for (const data::Subset* subset : {&inputs.calibration, &inputs.training}) {
    for (std::size_t i = 0; i < subset->count() && count < config.samples; ++i, ++count) {
      samples.resize((count + 1) * features);
      subset->CopySample(i, std::span(samples).subspan(count * features));
    }
  }
  const auto method = config.observer == Observer::kMinMax ? nn::RangeMethod::kMinMax
                                                           : nn::RangeMethod::kSquaredError;
  FL_TRY(const std::vector<nn::ActivationRange> ranges,
         nn::ObserveRanges(work.graph, work.parameters, samples, count, method));
  FL_TRY(work.quantized, nn::Quantize(work.graph, work.parameters, ranges));
  const nn::ModelFile file{*work.quantized, inputs.labels, inputs.normalization, inputs.notes};
  report.model = nn::SerializeModelFile(file);
  report.measured.bytes = report.model.size();
  report.lines.push_back(Format("ptq_static: int8, calibrated on %zu samples%s, %zu bytes", count,
                                count < 64 ? " (few)" : "", report.model.size()));
  return {};
}

Result<> RunVerify(const PassInputs& inputs, const Work& work, DeployReport& report) {
  if (!work.quantized) {
    return Error{ErrorCode::kInvalidArgument, "verify: expected ptq_static before it"};
  }
  Measured& measured = report.measured;
  FL_TRY(measured.teacher_accuracy,
         Accuracy(inputs.teacher.graph, inputs.teacher.parameters, inputs.verification));
  FL_TRY(const double float_accuracy, Accuracy(work.graph, work.parameters, inputs.verification));
  FL_TRY(measured.local_accuracy, Accuracy(*work.quantized, inputs.verification));
  measured.majority_share = MajorityShare(inputs.verification);
  report.reason = WhyRefused(measured, inputs.gate);
  report.accepted = report.reason.empty();
  report.lines.push_back(
      Format("verify: %zu samples, global model %.2f %%, fp32 %.2f %%, int8 %.2f %%, most frequent "
             "class %.2f %%: %s",
             inputs.verification.count(), 100 * measured.teacher_accuracy, 100 * float_accuracy,
             100 * measured.local_accuracy, 100 * measured.majority_share,
             report.accepted ? "accepted" : "refused"));
  return {};
}

}  // namespace

Result<DeployReport> RunPasses(const PassList& passes, const PassInputs& inputs) {
  FL_TRY_OK(CheckInputs(passes, inputs));
  DeployReport report;
  Work work{inputs.teacher.graph,
            {inputs.teacher.parameters.begin(), inputs.teacher.parameters.end()},
            {}};
  for (const Pass& pass : passes) {
    if (inputs.stop.load(std::memory_order_relaxed))
      return Error{ErrorCode::kUnavailable, "deployment: stopped"};
    if (const auto* distil = std::get_if<DistilConfig>(&pass.config)) {
      FL_TRY_OK(RunDistil(*distil, inputs, work, report));
      if (!report.reason.empty()) return report;
    } else if (const auto* ptq = std::get_if<PtqStaticConfig>(&pass.config)) {
      FL_TRY_OK(RunPtqStatic(*ptq, inputs, work, report));
    } else {
      FL_TRY_OK(RunVerify(inputs, work, report));
    }
  }
  return report;
}

}  // namespace fl::deploy
