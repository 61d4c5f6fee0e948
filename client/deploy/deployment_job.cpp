#include "fl/client/deploy/deployment_job.h"

#include <cstdio>
#include <map>
#include <optional>
#include <utility>
#include <variant>

#include "fl/client/deploy/deployment_notes.h"
#include "fl/client/deploy/made_samples.h"
#include "fl/client/deploy/personalize.h"
#include "fl/client/train/report_streams.h"
#include "fl/common/nn/materialize.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/wire/update.h"
#include "fl/compression/deploy/run_passes.h"
#include "fl/compression/samples/plan_samples.h"

namespace fl::client {
namespace {

// A model's accuracy on the device's own samples; nothing where it cannot judge them.
std::optional<double> MeasureFile(ByteSpan model_file, const data::Subset& samples) {
  if (model_file.empty()) return std::nullopt;
  const Result<nn::ModelFile> file = nn::ParseModelFile(model_file);
  if (!file) return std::nullopt;
  if (file->graph().input_shape().count() != samples.dataset().features()) return std::nullopt;
  const auto own = data::Normalization::Parse(file->normalization);
  if (!own) return std::nullopt;
  auto view = samples.dataset().WithNormalization(*own);
  if (!view) return std::nullopt;
  const data::Subset seen(std::make_shared<const data::Dataset>(*std::move(view)),
                          {samples.indices().begin(), samples.indices().end()});
  const auto* integers = std::get_if<nn::QuantizedModel>(&file->model);
  const auto* floats = std::get_if<nn::FloatModel>(&file->model);
  const Result<double> accuracy = integers != nullptr
                                      ? deploy::Accuracy(*integers, seen)
                                      : deploy::Accuracy(floats->graph, floats->parameters, seen);
  return accuracy ? std::optional(*accuracy) : std::nullopt;
}

Result<deploy::DeployReport> RunPassList(const DeploymentJob& job, const LocalData& data,
                                         const std::atomic<bool>& stop) {
  const Plan& plan = job.plan->plan;
  const RngStream rng =
      RngStream(plan.seed).Child("client", job.client).Child("round", job.task.round);
  FL_TRY(nn::FloatModel teacher, nn::Materialize(job.plan->graph, job.model->values));
  std::optional<Personalized> personal;
  double global_accuracy = 0;
  if (plan.deployment.personalize.steps > 0) {
    FL_TRY(global_accuracy, deploy::Accuracy(teacher.graph, teacher.parameters, data.verification));
    FL_TRY(personal, Personalize(plan.deployment.personalize, std::move(teacher), data,
                                 rng.Child("personalize"), stop));
    teacher = std::move(personal->model);
  }
  FL_TRY(const DeploymentData ample,
         WithMadeSamples(data, plan.deployment.made_below, {teacher.graph, teacher.parameters},
                         rng.Child("made_samples"), stop));
  const deploy::PassInputs inputs{
      .teacher = {teacher.graph, teacher.parameters},
      .training = ample.training,
      .calibration = ample.calibration,
      .verification = ample.verification,
      .gate = {plan.deployment.drop_points_max, plan.deployment.bytes_max},
      .rng = rng.Child("deploy"),
      .stop = stop,
      .normalization = data.training.dataset().normalization().ToText(),
      .labels = {},
      .notes = {{"federation", plan.name},
                {"model_version", std::to_string(job.task.model.version)},
                {"model_sha256", job.task.model.digest.ToHex()}},
      .federation_ranges = job.ranges ? &*job.ranges : nullptr};
  FL_TRY(deploy::DeployReport report, deploy::RunPasses(job.plan->passes, inputs));
  if (!ample.line.empty()) report.lines.insert(report.lines.begin(), ample.line);
  if (personal) {
    report.lines.insert(report.lines.begin(), std::move(personal->line));
    report.measured.teacher_accuracy = global_accuracy;
  }
  return report;
}

// The gate's word, and that of the model that is installed.
void Judge(deploy::DeployReport report, const DeploymentJob& job, const LocalData& data,
           DeploymentResult& result) {
  result.model_bytes = report.measured.bytes;
  result.teacher_accuracy = report.measured.teacher_accuracy;
  result.local_accuracy = report.measured.local_accuracy;
  result.report = std::move(report.lines);
  result.reason = std::move(report.reason);
  if (!report.accepted) return;
  const auto installed = MeasureFile(job.installed, data.verification);
  const auto fresh = MeasureFile(report.model, data.verification);
  if (installed && fresh && *installed > *fresh) {
    char text[120];
    std::snprintf(text, sizeof(text),
                  "the installed model is better: accuracy %.2f %%, the new one's %.2f %%",
                  100 * *installed, 100 * *fresh);
    result.reason = text;
    return;
  }
  result.installed = true;
  const DeploymentFacts facts{report.measured.local_accuracy, report.measured.teacher_accuracy,
                              data.verification.count()};
  result.model_file = WithDeploymentNotes(std::move(report.model), facts, data,
                                          job.plan->plan.deployment.bytes_max);
  result.model_bytes = result.model_file.size();
}

Bytes EncodeReport(const DeploymentJob& job, const LocalData& data,
                   const DeploymentResult& result) {
  wire::Update update;
  update.task = TaskId{job.task.id};
  update.base = job.task.model.digest.prefix();
  update.recipe = job.task.recipe;
  update.examples = data.training.count();
  update.streams.push_back(EncodeMetrics(
      *job.plan,
      {static_cast<float>(result.model_bytes), static_cast<float>(result.teacher_accuracy),
       static_cast<float>(result.local_accuracy), result.installed ? 1.0F : 0.0F}));
  return wire::EncodeUpdate(update);
}

}  // namespace

std::string DescribeDeployment(const DeploymentResult& result) {
  char text[160];
  std::snprintf(text, sizeof(text), "%llu bytes, accuracy %.2f %% (global model %.2f %%)",
                static_cast<unsigned long long>(result.model_bytes), 100 * result.local_accuracy,
                100 * result.teacher_accuracy);
  return result.installed ? text : std::string(text) + "; " + result.reason;
}

Result<DeploymentResult> RunDeployment(const DeploymentJob& job, const LocalData& data,
                                       const std::atomic<bool>& stop) {
  FL_TRY_OK(CheckFits(data.training.dataset(), job.plan->graph));
  DeploymentResult result;
  auto report = RunPassList(job, data, stop);
  if (report) {
    Judge(*std::move(report), job, data, result);
  } else if (report.error().code == ErrorCode::kUnavailable) {
    return report.error();
  } else {
    // Too few samples, say: the device goes on without a local model, and the server hears of it.
    result.reason = report.error().message;
  }
  result.update = EncodeReport(job, data, result);
  return result;
}

}  // namespace fl::client
