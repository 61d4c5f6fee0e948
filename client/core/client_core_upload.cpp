#include <utility>

#include "fl/client/core/client_core.h"
#include "fl/client/state/carried_over.h"
#include "fl/common/base/check.h"

namespace fl::client {
namespace {

// Of an update that was sent whole. What is no model's update has too few bytes to tell.
void LearnUpload(DeviceState& state, const Upload& upload, Duration took, bool accepted) {
  const StagedUpdate& staged = *state.staged;
  if (staged.kind != wire::TaskKind::kTrain || !(accepted || upload.all_sent())) return;
  state.speed.LearnUpload(staged.update.size(), took, accepted);
}

}  // namespace

// Steps 5 and 6: the update is durable before a byte of it leaves.

void ClientCore::On(TrainingDone event) {
  FL_CHECK(stage_ == Stage::kJob, "training ended that was not started");
  if (!event.result) {
    if (event.result.error().code == ErrorCode::kNotFinite) return Abandon(event.result.error());
    return Finish(event.result.error());
  }
  TrainingResult& result = *event.result;
  const bool trains = task_->kind == wire::TaskKind::kTrain;
  const bool calibrates = task_->kind == wire::TaskKind::kCalibrate;
  if (!calibrates) ++(trains ? state_.counters.trained : state_.counters.evaluated);
  if (trains) state_.speed.LearnTraining(now_ - job_since_);
  RecordActivity record;
  record.what = trains ? "trained" : "evaluated";
  record.examples = result.examples;
  record.detail = DescribeMetrics(result.metrics) + DescribeLeftOut(result, ResidualAge());
  if (calibrates) {
    record.what = "calibrated";
    record.detail = std::move(result.calibrated);
  }
  for (const std::string& setting : result.settings) record.detail += "; auto: " + setting;
  StagedUpdate staged;
  staged.update = std::move(result.update);
  staged.residual = std::move(result.residual);
  staged.velocity = std::move(result.velocity);
  StageUpdate(std::move(staged), std::move(record));
}

void ClientCore::On(DeploymentDone event) {
  FL_CHECK(stage_ == Stage::kJob, "a deployment ended that was not started");
  if (!event.result) return Finish(event.result.error());
  DeploymentResult& result = *event.result;
  ++state_.counters.deployed;
  for (std::string& line : result.report) Log(LogLevel::kInfo, std::move(line));
  RecordActivity record;
  record.what = result.installed ? "installed" : "not installed";
  record.detail = DescribeDeployment(result);
  if (result.installed) commands_.emplace_back(InstallModel{std::move(result.model_file)});
  StagedUpdate staged;
  staged.update = std::move(result.update);
  StageUpdate(std::move(staged), std::move(record));
}

void ClientCore::StageUpdate(StagedUpdate staged, RecordActivity record) {
  staged.task = task_->id;
  staged.kind = task_->kind;
  staged.round = task_->round;
  staged.plan = *state_.plan;
  staged.round_parameters = TaskParameters();
  record.round = task_->round;
  record.task = task_->id;
  record.asked = task_->asked;
  record.update_bytes = staged.update.size();
  upload_.emplace(staged, options_.chunk_bytes);
  upload_since_ = now_;
  state_.staged = std::move(staged);
  task_.reset();
  model_ = nullptr;
  abandoned_ = 0;
  commands_.emplace_back(SaveState{});
  commands_.emplace_back(std::move(record));
  Send(Stage::kUpload);
}

void ClientCore::OnUploadReply(const Result<net::Response>& reply) {
  const Upload::Outcome outcome = upload_->OnAnswer(reply);
  if (const auto* accepted = std::get_if<Upload::Accepted>(&outcome)) {
    if (upload_since_) LearnUpload(state_, *upload_, now_ - *upload_since_, true);
    return SettleAccepted(accepted->round);
  }
  if (const auto* failure = std::get_if<Failure>(&outcome)) {
    // The task has an update already: ours, from before a restart, or one as good.
    if (failure->error.code == ErrorCode::kDuplicate) return SettleAccepted(state_.staged->round);
    if (failure->cure == Failure::Cure::kGiveUp) {
      if (upload_since_) LearnUpload(state_, *upload_, now_ - *upload_since_, false);
      return SettleRefused(failure->error);
    }
    return Fail(*failure);
  }
  failures_ = 0;
  Send(Stage::kUpload);
}

void ClientCore::SettleAccepted(std::uint64_t round) {
  ++state_.counters.accepted;
  commands_.emplace_back(SaveState{});
  RecordActivity record{"accepted", round, state_.staged->task, 0, 0, 0, {}};
  commands_.emplace_back(std::move(record));
  CommitStaged(state_, cache_->FindPlan(state_.staged->plan).get());
  failures_ = 0;
  refused_ = 0;
  CheckInLater();
}

// What was sent is given back to the residual, so that the next update carries it. Where something
// was wrong with it the next one is likely to be refused, too (a model that diverges), and would
// cost a training and an upload each time: the device waits longer and longer.
void ClientCore::SettleRefused(const Error& error) {
  const StagedUpdate& staged = *state_.staged;
  ++state_.counters.refused;
  Log(LogLevel::kWarning, "the server refuses the update of round " + std::to_string(staged.round) +
                              ": " + error.message);
  commands_.emplace_back(SaveState{});
  std::string reason = std::string(ErrorCodeName(error.code)) + ": " + error.message;
  commands_.emplace_back(
      RecordActivity{"refused", staged.round, staged.task, 0, 0, 0, std::move(reason)});
  const auto given_back = GiveBackStaged(state_, cache_->FindPlan(staged.plan).get());
  if (!given_back)
    Log(LogLevel::kError, "the refused update is lost: " + given_back.error().message);
  failures_ = 0;
  const bool unneeded = error.code == ErrorCode::kTooLate || error.code == ErrorCode::kNotNeeded;
  CheckInLater(unneeded ? Duration::zero() : DrawPause(refused_));
}

}  // namespace fl::client
