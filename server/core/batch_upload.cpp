#include <algorithm>
#include <cmath>

#include "fl/common/base/error_detail.h"
#include "fl/common/crypto/sha256.h"
#include "fl/server/core/batch.h"
#include "fl/server/core/round_parameters.h"
#include "fl/server/core/round_policy.h"

namespace fl::server {
namespace {

// The bytes of an upload that is given up for another one take room until the round is over.
constexpr std::uint64_t kAttemptsMax = 8;

net::Response Receipt(const TaskRow& task) {
  const bool accepted = task.state == TaskState::kAccepted;
  const wire::UploadAnswer answer{task.committed, accepted, accepted ? task.counted_round : 0};
  return {200, {}, wire::Encode(answer)};
}

Error SecondUpdate(const TaskRow& task) {
  return {ErrorCode::kDuplicate,
          "expected the update that this task already has, found another (round " +
              std::to_string(task.round) + ")",
          ErrorDetail::kUpdateOther};
}

// A count that a device reports as a float.
std::uint64_t ToCount(float value) {
  return value >= 0 && value < 1e18F ? static_cast<std::uint64_t>(value) : 0;
}

}  // namespace

Result<net::Response> Batch::AnswerUpload(const RequestArrived& event,
                                          const DecodedRequest& request) {
  FL_TRY(auto task, transaction_.FindTask(TaskOf(request)->value));
  if (!task || task->federation != plan_.name() || task->client != ClientName(event.peer)) {
    return Refuse({ErrorCode::kUnknownTask, "task: expected one that was issued to this client",
                   ErrorDetail::kTaskUnknown},
                  federation_.round);
  }
  if (std::holds_alternative<UploadWhole>(request)) return Whole(*task, event);
  if (std::holds_alternative<UploadOffset>(request)) return Offset(*task);
  if (const auto* reserve = std::get_if<UploadReserve>(&request)) return Reserve(*task, *reserve);
  if (const auto* chunk = std::get_if<UploadChunk>(&request)) {
    return Chunk(*task, *chunk, event.request.body);
  }
  return CommitUpload(*task, std::get<UploadCommit>(request), event);
}

// Why an update of this task can no longer count, if so. What counts is settled here: by the open
// round and the task's lateness. A device that is told no for good carries the update's content
// over to its next one, so that a copy which a network held up must be told the same for ever: it
// is kUnavailable as long as any round to come may count it.
std::optional<Error> Batch::Closed(const TaskRow& task,
                                   const std::optional<RoundRow>& own_round) const {
  if (task.kind == wire::TaskKind::kCalibrate) {
    const bool open = federation_.state == FederationState::kCalibrating &&
                      task.base_version == federation_.version;
    if (open) return std::nullopt;
    return Error{ErrorCode::kNotNeeded, "calibration: it is over, or of an earlier version"};
  }
  if (task.kind != wire::TaskKind::kTrain) return std::nullopt;
  const RoundsConfig& rounds = plan_.plan().rounds;
  const bool own_is_open = own_round && own_round->state == RoundState::kCollecting;
  if (own_is_open && !is_last_phase()) {
    return Error{ErrorCode::kWrongState,
                 "round " + std::to_string(task.round) + ": expected a phase message first"};
  }
  const bool stopped = federation_.state == FederationState::kStopped;
  const bool fits = round_ && round_->number - task.round <= rounds.max_staleness && !stopped;
  const bool full = is_collecting() && round_->accepted >= GoalOf(rounds, *round_);
  if (fits && is_collecting() && !full) return std::nullopt;
  // A round that this update may count in is about to collect, or to open.
  const bool opens = fits && task.round < round_->number && round_is_open() && !full &&
                     round_->state != RoundState::kFolding;
  const bool next_fits = fits && rounds.max_staleness > 0 &&
                         round_->number + 1 - task.round <= rounds.max_staleness &&
                         federation_.published < rounds.count;
  if (opens || next_fits) {
    return Error{ErrorCode::kUnavailable, "no round is open at this moment; try again"};
  }
  if (fits && full) {
    return Error{ErrorCode::kNotNeeded,
                 "round " + std::to_string(round_->number) + " has what it wants"};
  }
  if (own_round && own_round->goal_reached) {
    return Error{ErrorCode::kNotNeeded,
                 "round " + std::to_string(task.round) + " got what it wanted without this update"};
  }
  return Error{ErrorCode::kTooLate, "round " + std::to_string(task.round) +
                                        " is closed: expected an update at most " +
                                        std::to_string(rounds.max_staleness) + " rounds late"};
}

Result<std::optional<Error>> Batch::ClosedFor(const TaskRow& task) {
  std::optional<RoundRow> own = round_;
  if (!round_ || round_->number != task.round) {
    FL_TRY(own, transaction_.FindRound(plan_.name(), task.round));
  }
  return Closed(task, own);
}

Result<net::Response> Batch::Whole(TaskRow& task, const RequestArrived& event) {
  if (task.state == TaskState::kAccepted) {
    if (crypto::Sha256(event.request.body) == task.digest) return Receipt(task);
    return Refuse(SecondUpdate(task), task.round);
  }
  FL_TRY(const auto closed, ClosedFor(task));
  if (closed) return Refuse(*closed, task.round, closed->code == ErrorCode::kUnavailable);
  FL_TRY(const Result<CheckedUpdate> checked, Check(task, event, event.request.body, std::nullopt));
  if (!checked) return Refuse(checked.error(), task.round);
  if (task.reserved_bytes > 0) FL_TRY_OK(journal_.Discard(task));
  FL_TRY_OK(journal_.AppendChunk(task, event.request.body));
  return Accept(task, *checked);
}

Result<net::Response> Batch::Reserve(TaskRow& task, const UploadReserve& request) {
  const wire::ReserveRequest& wanted = request.message;
  if (task.state == TaskState::kAccepted) {
    if (wanted.digest == task.digest) return Receipt(task);
    return Refuse(SecondUpdate(task), task.round);
  }
  FL_TRY(const auto closed, ClosedFor(task));
  if (closed) return Refuse(*closed, task.round, closed->code == ErrorCode::kUnavailable);
  const std::uint64_t bytes_max = plan_.update_bytes_max(task.kind);
  if (wanted.bytes == 0 || wanted.bytes > bytes_max) {
    return Refuse({ErrorCode::kLimitExceeded,
                   "update: expected 1 to " + std::to_string(bytes_max) + " bytes, found " +
                       std::to_string(wanted.bytes),
                   ErrorDetail::kReservationBytes},
                  task.round);
  }
  const bool same = task.reserved_bytes == wanted.bytes && task.digest == wanted.digest;
  if (!same && task.attempt >= kAttemptsMax) {
    return Refuse({ErrorCode::kLimitExceeded,
                   "update: expected at most " + std::to_string(kAttemptsMax) +
                       " uploads that are thrown away for another one",
                   ErrorDetail::kUploadsBegun},
                  task.round);
  }
  if (!same) {
    FL_TRY_OK(journal_.Discard(task));
    task.reserved_bytes = wanted.bytes;
    task.digest = wanted.digest;
    FL_TRY_OK(transaction_.Put(task));
  }
  return Receipt(task);
}

Result<net::Response> Batch::Chunk(TaskRow& task, const UploadChunk& request, ByteSpan bytes) {
  if (task.state == TaskState::kAccepted) return Receipt(task);
  FL_TRY(const auto closed, ClosedFor(task));
  if (closed) return Refuse(*closed, task.round, closed->code == ErrorCode::kUnavailable);
  if (task.reserved_bytes == 0) {
    return Refuse({ErrorCode::kWrongState, "update: expected a reservation first",
                   ErrorDetail::kReservationMissing},
                  task.round);
  }
  // A piece that came before and whose answer was lost.
  if (request.offset < task.committed && bytes.size() <= task.committed - request.offset) {
    return Receipt(task);
  }
  if (request.offset != task.committed || bytes.empty()) {
    return Refuse(
        {ErrorCode::kWrongOffset,
         "Upload-Offset: expected bytes at " + std::to_string(task.committed) + ", found " +
             std::to_string(bytes.size()) + " at " + std::to_string(request.offset),
         ErrorDetail::kChunkOffset},
        task.round);
  }
  if (bytes.size() > task.reserved_bytes - task.committed) {
    return Refuse(
        {ErrorCode::kLimitExceeded,
         "update: expected " + std::to_string(task.reserved_bytes) + " bytes in all, found more",
         ErrorDetail::kChunkBeyondEnd},
        task.round);
  }
  FL_TRY_OK(journal_.AppendChunk(task, bytes));
  stored_piece_of_ = task.attempt;
  return Receipt(task);
}

// An answer to HEAD has no body: what it says stands in a header.
Result<net::Response> Batch::Offset(const TaskRow& task) {
  if (task.state == TaskState::kOpen && task.reserved_bytes == 0) {
    FL_TRY(net::Response refusal,
           Refuse({ErrorCode::kWrongState, "update: expected a reservation first",
                   ErrorDetail::kReservationMissing},
                  task.round));
    refusal.body.clear();
    return refusal;
  }
  return net::Response{200, {{"Upload-Offset", std::to_string(task.committed)}}, {}};
}

Result<net::Response> Batch::CommitUpload(TaskRow& task, const UploadCommit& request,
                                          const RequestArrived& event) {
  if (task.state == TaskState::kAccepted) {
    if (request.message.digest == task.digest) return Receipt(task);
    return Refuse(SecondUpdate(task), task.round);
  }
  FL_TRY(const auto closed, ClosedFor(task));
  if (closed) return Refuse(*closed, task.round, closed->code == ErrorCode::kUnavailable);
  if (task.reserved_bytes != request.message.bytes || task.digest != request.message.digest) {
    return Refuse(
        {ErrorCode::kWrongState, "commit: expected the size and digest of the reservation",
         ErrorDetail::kCommitOther},
        task.round);
  }
  if (task.committed != task.reserved_bytes) {
    return Refuse({ErrorCode::kWrongOffset,
                   "commit: expected " + std::to_string(task.reserved_bytes) + " bytes, found " +
                       std::to_string(task.committed),
                   ErrorDetail::kCommitEarly},
                  task.round);
  }
  FL_TRY(const StoredBody body, transaction_.ReadBody(task.id));
  FL_TRY(const Result<CheckedUpdate> checked, Check(task, event, body.bytes(), task.digest));
  if (!checked) {
    FL_TRY_OK(journal_.Discard(task));
    return Refuse(checked.error(), task.round);
  }
  return Accept(task, *checked);
}

// Step 7. What the shell found out before is taken, where it did; the outer errors are the
// storage's. Rows may have changed since the shell looked, so that its claims are compared again,
// and a claim that did not fit then may fit now.
Result<Result<CheckedUpdate>> Batch::Check(const TaskRow& task, const RequestArrived& event,
                                           ByteSpan update, const std::optional<Digest>& reserved) {
  FL_TRY(const auto base, transaction_.FindModel(plan_.name(), task.base_version));
  if (!base) {
    return Error{ErrorCode::kInternal, plan_.name() + ": the base model's row is missing"};
  }
  bool stale =
      event.checked && !*event.checked && event.checked->error().code == ErrorCode::kWrongBase;
  // Other bytes than those that the shell saw, though of the same reservation.
  stale |= reserved && event.checked && *event.checked && (*event.checked)->attempt != task.attempt;
  std::optional<Result<CheckedUpdate>> checked;
  if (event.checked && !stale) {
    checked = *event.checked;
  } else {
    FL_TRY(const RoundParameters parameters, ReadTaskParameters(transaction_, plan_, task));
    checked = CheckUpdate(plan_, {task, *base, reserved}, update, parameters);
  }
  if (!*checked) return *checked;
  const bool same = !reserved || (*checked)->digest == *reserved;
  if (!same) {
    return Result<CheckedUpdate>(Error{ErrorCode::kDigestMismatch,
                                       "update: expected bytes of the reserved digest",
                                       ErrorDetail::kUpdateDigest});
  }
  const Result<> admitted = Admit(**checked, task, *base, plan_);
  if (!admitted) return Result<CheckedUpdate>(admitted.error());
  FL_TRY(const auto no_room, CheckRoom(task, **checked));
  return no_room ? Result<CheckedUpdate>(*no_room) : *checked;
}

// Step 8: from the commit of this transaction on, the update counts.
Result<net::Response> Batch::Accept(TaskRow& task, const CheckedUpdate& update) {
  task.digest = update.digest;
  const bool train = task.kind == wire::TaskKind::kTrain;
  const std::uint64_t counted = train ? round_->number : task.round;
  FL_TRY_OK(journal_.Commit(task, counted, update.examples, now_));
  ++account_.accepted[task.kind];
  FL_TRY_OK(Forgive());
  if (train) {
    ++round_->accepted;
    FL_TRY(auto client, transaction_.FindClient(plan_.name(), task.client));
    if (client) {
      ++client->accepted;
      FL_TRY_OK(transaction_.Put(*client));
    }
    return Receipt(task);
  }
  const Metrics& metrics = update.metrics;
  if (task.kind == wire::TaskKind::kCalibrate) FL_TRY_OK(TakeCalibration(task));
  FL_TRY_OK(transaction_.DropBody(task.id));
  if (task.kind == wire::TaskKind::kCalibrate) return Receipt(task);
  if (task.kind == wire::TaskKind::kEvaluate) {
    FL_TRY_OK(TakeClientEvaluation(task, metrics));
    return Receipt(task);
  }
  FL_TRY_OK(
      transaction_.Put(DeploymentRow{plan_.name(), task.client, ToCount(metrics[0]),
                                     double{metrics[1]}, double{metrics[2]}, metrics[3] > 0}));
  return Receipt(task);
}

// A client without a hold-out, or with a model that gives no number, says less than 0.
Result<> Batch::TakeClientEvaluation(const TaskRow& task, const Metrics& metrics) {
  const double examples = std::floor(double{metrics[3]});
  if (metrics[0] < 0 || metrics[1] < 0 || metrics[1] > 1 || examples < 1 || examples > 1e9) {
    return Ok{};
  }
  FL_TRY(auto model, transaction_.FindModel(plan_.name(), task.base_version));
  if (!model) return Ok{};
  model->clients_examples += static_cast<std::uint64_t>(examples);
  model->clients_loss_sum += double{metrics[0]} * examples;
  model->clients_correct += static_cast<std::uint64_t>(std::llround(double{metrics[1]} * examples));
  return transaction_.Put(*model);
}

}  // namespace fl::server
