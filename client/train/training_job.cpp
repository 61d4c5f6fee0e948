#include "fl/client/train/training_job.h"

#include <cmath>
#include <cstdio>
#include <utility>

#include "fl/client/privacy/clip_and_noise.h"
#include "fl/client/state/carried_over.h"
#include "fl/client/state/error_feedback.h"
#include "fl/client/state/momentum.h"
#include "fl/client/train/calibrate_samples.h"
#include "fl/client/train/report_streams.h"
#include "fl/client/train/trainer.h"
#include "fl/common/wire/update.h"
#include "fl/compression/samples/evaluate_model.h"
#include "fl/compression/samples/plan_samples.h"

namespace fl::client {
namespace {

float OrNothing(double value) {
  return std::isfinite(value) ? static_cast<float>(value) : -1.0F;
}

Result<TrainingMetrics> MeasureReceived(const TrainingJob& job, const LocalData& data) {
  FL_TRY(const nn::Evaluation before,
         EvaluateModel(job.plan->graph, job.model->values, data.holdout));
  TrainingMetrics metrics;
  metrics.loss_before = OrNothing(before.loss);
  metrics.accuracy_before = OrNothing(before.accuracy);
  metrics.holdout_examples = static_cast<float>(before.count);
  return metrics;
}

wire::Update BeginUpdate(const TrainingJob& job, std::uint64_t examples) {
  wire::Update update;
  update.task = TaskId{job.task.id};
  update.base = job.task.model.digest.prefix();
  update.recipe = job.task.recipe;
  update.examples = examples;
  return update;
}

wire::UpdateStream MetricsOf(const CheckedPlan& checked, const TrainingMetrics& metrics) {
  return EncodeMetrics(checked, {metrics.loss_before, metrics.accuracy_before, metrics.loss_after,
                                 metrics.holdout_examples});
}

Result<TrainingResult> Evaluate(const TrainingJob& job, const LocalData& data) {
  TrainingResult result;
  FL_TRY(result.metrics, MeasureReceived(job, data));
  result.examples = data.holdout.count();
  wire::Update update = BeginUpdate(job, result.examples);
  update.streams.push_back(MetricsOf(*job.plan, result.metrics));
  result.update = wire::EncodeUpdate(update);
  return result;
}

Result<TrainingResult> Calibrate(const TrainingJob& job, const LocalData& data) {
  FL_TRY(CalibratedSamples calibrated, CalibrateSamples(*job.plan, *job.model, data));
  TrainingResult result;
  result.examples = calibrated.samples;
  result.calibrated = std::move(calibrated.detail);
  wire::Update update = BeginUpdate(job, result.examples);
  update.streams.push_back(std::move(calibrated.stream));
  result.update = wire::EncodeUpdate(update);
  return result;
}

// With a width below 1 the round's narrow network is trained in place of the whole one.
Result<LocalDelta> TrainLocally(const TrainingJob& job, const LocalData& data, const RngStream& rng,
                                const std::atomic<bool>& stop) {
  const CheckedPlan& checked = *job.plan;
  const TrainingConfig& training = checked.plan.training;
  if (checked.narrowing == nullptr) {
    return Trainer(checked.graph, training, job.task.round, stop)
        .Train(*job.model, data.training, rng);
  }
  const Narrowing& narrowing = *checked.narrowing;
  const std::vector<std::uint64_t> coordinates = narrowing.AllCoordinates(job.task.round);
  NamedTensors narrow(narrowing.graph().parameters);
  for (std::size_t i = 0; i < coordinates.size(); ++i)
    narrow.values[i] = job.model->values[coordinates[i]];
  const Trainer trainer(narrowing.graph(), training, job.task.round, stop, narrowing.scaled());
  FL_TRY(LocalDelta local, trainer.Train(narrow, data.training, rng));
  NamedTensors whole(checked.graph.parameters);
  for (std::size_t i = 0; i < coordinates.size(); ++i)
    whole.values[coordinates[i]] = local.delta.values[i];
  local.delta = std::move(whole);
  return local;
}

// What the update may take; nothing without `auto`.
Result<std::optional<rate::Budget>> BudgetOf(const TrainingJob& job, std::uint64_t examples) {
  const auto& rule = job.plan->delta.budget();
  if (!rule) return std::optional<rate::Budget>();
  FL_TRY(const rate::BudgetState state, job.plan->delta.ReadBudgetState(*job.round_parameters));
  return std::optional(
      rate::ChooseBudget(*rule, state, {job.round_parameters->round, examples, job.time}));
}

// "1187 of 1200 bytes (25 % of the cap), 64.2 % of the energy kept".
std::string DescribeBudget(const rate::Budget& budget, std::size_t bytes, double kept) {
  char text[48];
  std::snprintf(text, sizeof(text), "), %.1f %% of the energy kept", 100 * kept);
  return std::to_string(bytes) + " of " + std::to_string(budget.bytes) + " bytes (" +
         budget.reason + text;
}

}  // namespace

std::string DescribeMetrics(const TrainingMetrics& metrics) {
  char text[160];
  std::snprintf(text, sizeof(text),
                "loss %.4f, accuracy %.2f %% on %.0f hold-out samples; training loss %.4f",
                static_cast<double>(metrics.loss_before),
                100.0 * static_cast<double>(metrics.accuracy_before),
                static_cast<double>(metrics.holdout_examples),
                static_cast<double>(metrics.loss_after));
  return text;
}

std::string DescribeLeftOut(const TrainingResult& result, std::uint64_t age) {
  if (result.residual == nullptr || !(result.delta_norm > 0)) return {};
  char text[64];
  std::snprintf(text, sizeof(text), "; left out %.2f times the change",
                NormL2(result.residual->values) / result.delta_norm);
  if (age == 0) return text;
  return text + (", with a residual of " + std::to_string(age) + " rounds ago");
}

Result<TrainingResult> RunTraining(const TrainingJob& job, const LocalData& data,
                                   const std::atomic<bool>& stop) {
  const CheckedPlan& checked = *job.plan;
  FL_TRY_OK(CheckFits(data.training.dataset(), checked.graph));
  if (job.task.kind == wire::TaskKind::kEvaluate) return Evaluate(job, data);
  if (job.task.kind == wire::TaskKind::kCalibrate) return Calibrate(job, data);

  const RngStream rng =
      RngStream(checked.plan.seed).Child("client", job.client).Child("round", job.task.round);
  TrainingResult result;
  FL_TRY(result.metrics, MeasureReceived(job, data));

  FL_TRY(LocalDelta local, TrainLocally(job, data, rng.Child("train"), stop));
  result.metrics.loss_after = OrNothing(local.loss);
  result.examples = local.examples;
  const bool keeps_residual = KeepsResidual(checked);
  if (keeps_residual) result.delta_norm = NormL2(local.delta.values);

  result.velocity = Accelerate(local.delta, job.velocity, checked.plan.compression.momentum,
                               checked.delta.covered());
  const ErrorFeedback feedback(job.residual, keeps_residual);
  feedback.Compensate(local.delta);
  ClipAndNoise(local.delta, checked.plan.privacy, rng.Child("noise"));

  wire::Update update = BeginUpdate(job, local.examples);
  update.streams.push_back({wire::kStreamDelta, {}});
  update.streams.push_back(MetricsOf(*job.plan, result.metrics));
  AppendPlanStreams(checked, data, rng, update);
  const std::size_t other_bytes = wire::EncodeUpdate(update).size() - VarintSize(0) +
                                  VarintSize(checked.delta.segments().size());
  FL_TRY(const std::optional<rate::Budget> budget, BudgetOf(job, local.examples));
  UpdateRoom room{other_bytes, {}};
  if (budget) room.bytes = budget->bytes;
  EncodedDelta encoded =
      feedback.Encode(local.delta, checked.delta, *job.round_parameters, rng.Child("encode"), room);
  result.residual = std::move(encoded.residual);
  update.streams.front().entries = std::move(encoded.entries);
  result.update = wire::EncodeUpdate(update);
  if (budget) {
    result.settings = std::move(encoded.settings);
    result.settings.insert(result.settings.begin(),
                           DescribeBudget(*budget, result.update.size(), encoded.kept));
  }
  return result;
}

}  // namespace fl::client
