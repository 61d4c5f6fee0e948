#include <string>

#include "fl/common/crypto/sha256.h"
#include "fl/server/core/batch.h"
#include "fl/server/core/round_policy.h"

namespace fl::server {

// What the rows say, with what this batch has added.
Result<> Batch::LoadTally() {
  if (tally_) return Ok{};
  FL_TRY(const auto bytes, transaction_.FindTensor(plan_.name(), CalibrationTally::kTensor));
  if (!bytes) {
    tally_ = CalibrationTally::Of(plan_, federation_.version);
    return Ok{};
  }
  FL_TRY(tally_, CalibrationTally::Decode(*bytes));
  return Ok{};
}

// The ranges of an earlier version, where there are any, are of no more use.
Result<> Batch::BeginCalibration() {
  FL_TRY_OK(LoadTally());
  if (tally_->ranges) FL_TRY_OK(transaction_.DropBlob(*tally_->ranges));
  tally_ = CalibrationTally::Of(plan_, federation_.version);
  tally_changed_ = true;
  federation_.state = FederationState::kCalibrating;
  return Ok{};
}

// Over when enough devices have sent theirs, each client that is known has answered, or the time
// for it has passed. With too few devices there are no ranges: each device is to use its own.
Result<bool> Batch::AdvanceCalibration() {
  FL_TRY_OK(LoadTally());
  const CalibrationConfig& config = plan_.plan().deployment.calibration;
  const TimePoint deadline = federation_.deploying_at + FromSeconds(plan_.plan().rounds.deadline_s);
  const bool all = tally_->devices >= config.devices || tally_->answered >= federation_.clients;
  if (!all && now_ < deadline) return false;
  std::string outcome = "calibration: " + std::to_string(tally_->devices) + " devices with " +
                        std::to_string(tally_->samples) + " samples";
  if (tally_->devices >= config.devices_min) {
    FL_TRY(const Bytes ranges, tally_->Ranges(plan_));
    tally_->ranges = crypto::Sha256(ranges);
    FL_TRY_OK(transaction_.PutBlob(plan_.name(), *tally_->ranges, ranges));
  } else {
    outcome += ", expected at least " + std::to_string(config.devices_min) +
               " devices; each uses ranges of its own";
  }
  tally_->merged.clear();
  tally_changed_ = true;
  federation_.state = FederationState::kDeploying;
  federation_.deploying_at = now_;
  FL_TRY_OK(Note(std::move(outcome)));
  return true;
}

// Each client gets one calibrate task for the last version, while its answer can still count.
Result<> Batch::OfferCalibrateTask(const wire::CheckInRequest& request, const std::string& client,
                                   wire::CheckInAnswer& answer) {
  constexpr wire::TaskKind kKind = wire::TaskKind::kCalibrate;
  FL_TRY(auto task, transaction_.FindTaskOf(plan_.name(), kKind, federation_.version, client));
  if (task && task->state == TaskState::kAccepted) return Ok{};
  if (!task) {
    task.emplace();
    task->id = TaskIdOf(plan_.name(), kKind, federation_.version, client);
    task->federation = plan_.name();
    task->kind = kKind;
    task->round = federation_.version;
    task->client = client;
    task->base_version = federation_.version;
    FL_TRY_OK(transaction_.Put(*task));
  }
  FL_TRY(answer.task, BuildTask(*task, request));
  return Ok{};
}

Result<std::optional<Digest>> Batch::FindRanges(std::uint64_t version) {
  using MaybeDigest = std::optional<Digest>;
  if (!plan_.checked().calibration) return MaybeDigest();
  FL_TRY_OK(LoadTally());
  return tally_->version == version ? tally_->ranges : MaybeDigest();
}

Result<std::optional<Error>> Batch::CheckRoom(const TaskRow& task, const CheckedUpdate& update) {
  using Refused = std::optional<Error>;
  if (task.kind != wire::TaskKind::kCalibrate) return Refused();
  FL_TRY_OK(LoadTally());
  if (tally_->HasRoomFor(plan_, update.examples)) return Refused();
  return Refused(Error{ErrorCode::kNotNeeded, "calibration: no more values can be counted"});
}

// Of an update that was checked and whose bytes are those of its chunks.
Result<> Batch::TakeCalibration(const TaskRow& task) {
  FL_TRY(const StoredBody body, transaction_.ReadBody(task.id));
  wire::UpdateLimits limits;
  limits.bytes_max = plan_.update_bytes_max(task.kind);
  FL_TRY(const wire::UpdateView view, wire::DecodeUpdate(body.bytes(), limits));
  FL_TRY(const auto histograms, ReadCalibration(plan_, view.streams.front(), view.examples));
  FL_TRY_OK(LoadTally());
  tally_->Add(histograms, view.examples);
  tally_changed_ = true;
  return Ok{};
}

}  // namespace fl::server
