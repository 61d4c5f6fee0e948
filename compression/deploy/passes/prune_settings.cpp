#include "fl/compression/deploy/passes/prune_settings.h"

#include <algorithm>
#include <cstdio>

#include "fl/common/base/file.h"

namespace fl::deploy {

std::string_view CriterionName(Criterion criterion) {
  return kCriterionNames[static_cast<std::size_t>(criterion)];
}

void ReportSizes(const ModelSize& before, const ModelSize& after, PassReport& report) {
  char text[160];
  std::snprintf(text, sizeof(text), "%.0f of %.0f parameters, %.0f of %.0f MACs", after.parameters,
                before.parameters, after.macs, before.macs);
  report.summary = text;
  report.figures = {{"parameters_before", before.parameters},
                    {"parameters_after", after.parameters},
                    {"macs_before", before.macs},
                    {"macs_after", after.macs}};
}

void PruneSettings::ReadImportance(ImportanceConfig& config) {
  importance_ = &config;
  config.criterion = static_cast<Criterion>(
      fields_.Word("criterion", kCriterionNames, static_cast<std::size_t>(Criterion::kL1)));
  fields_.Number("gradient_batches", config.batches, 1, 10000);
  fields_.Texts("scores", "[\"conv1 0.5 0.2\"]", lines_);
  fields_.Text("scores_file", file_);
}

void PruneSettings::ReadBudget(SizeBudget& budget) {
  fields_.Number("macs_share", budget.macs_share, 0.0001, 1);
  fields_.Number("parameters_share", budget.parameters_share, 0.0001, 1);
  fields_.Number("macs_max", budget.macs_max, 1, 1e15);
  fields_.Number("parameters_max", budget.parameters_max, 1, 1e12);
}

void PruneSettings::ReadTraining(std::uint32_t& steps, FineTuneConfig& config) {
  config.learning_rate = 0.02;
  fields_.Number("finetune", steps, 0, 1e6);
  config.steps = steps;
  config.warmup = steps / 10;
  fields_.Number("batch", config.batch, 1, 4096);
  fields_.Number("learning_rate", config.learning_rate, 1e-6, 10);
  fields_.Number("momentum", config.momentum, 0, 0.999);
  fields_.Number("weight_decay", config.weight_decay, 0, 1);
  fields_.Number("alpha", config.alpha, 0, 1);
  fields_.Number("temperature", config.temperature, 1, 20);
  fields_.Number("warmup", config.warmup, 0, 1e6);
  fields_.Number("clip", config.clip, 1e-6, 1e6);
}

Result<> PruneSettings::TakeScores() {
  if (!lines_.empty()) {
    std::string text;
    for (const std::string& line : lines_) text += line + "\n";
    auto scores = ParseScores(std::as_bytes(std::span(text)));
    if (!scores) return fields_.Fail("scores", scores.error().message, scores.error().code);
    importance_->scores = *std::move(scores);
  } else {
    const auto bytes = ReadFile(file_, std::uint64_t{1} << 24);
    if (!bytes) return fields_.Fail("scores_file", bytes.error().message, bytes.error().code);
    auto scores = ParseScores(*bytes);
    if (!scores) return fields_.Fail("scores_file", scores.error().message, scores.error().code);
    importance_->scores = *std::move(scores);
  }
  return {};
}

Result<> PruneSettings::Finish() {
  FL_TRY_OK(fields_.Finish());
  if (importance_ == nullptr) return {};
  const bool own = importance_->criterion == Criterion::kOwn;
  const int given = (lines_.empty() ? 0 : 1) + (file_.empty() ? 0 : 1);
  if (own && given != 1)
    return fields_.Fail("criterion", "expected scores or scores_file with \"own\"");
  if (!own && given > 0)
    return fields_.Fail("criterion", "expected \"own\" with scores, found another");
  if (!file_.empty() && fields_.use() == PassListUse::kDevice) {
    return fields_.Fail("scores_file",
                        "expected scores in the list itself: a device reads no files"
                        " that a plan names");
  }
  return own ? TakeScores() : Result<>();
}

Retrain TrainingBetween::AsRetrain() {
  if (steps_ == 0) return nullptr;
  return [this](std::uint32_t step, WorkingModel& model) { return Train(step, model); };
}

Result<> TrainingBetween::Train(std::uint32_t step, WorkingModel& model) {
  FL_TRY(FineTuned outcome, FineTune(config_, {.graph = model.graph,
                                               .start = model.parameters,
                                               .masks = model.masks,
                                               .teacher = inputs_.teacher,
                                               .training = inputs_.training,
                                               .rng = inputs_.rng.Child("finetune", step),
                                               .stop = inputs_.stop}));
  model.parameters = outcome.parameters;
  failed_ = failed_ || !outcome.converged;
  last_ = std::move(outcome);
  return {};
}

void TrainingBetween::Report(std::string_view pass, PassReport& report) const {
  if (!last_) return;
  char text[120];
  std::snprintf(text, sizeof(text), "; then %zu training steps, loss %.3f -> %.3f", last_->steps,
                last_->loss_first, last_->loss_last);
  report.summary += text;
  report.figures.push_back({"finetune_steps", static_cast<double>(last_->steps)});
  report.figures.push_back({"loss_last", last_->loss_last});
  if (failed_) report.refusal = std::string(pass) + ": training failed in every attempt";
}

}  // namespace fl::deploy
