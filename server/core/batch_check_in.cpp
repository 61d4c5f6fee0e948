#include <algorithm>
#include <vector>

#include "fl/common/base/error_detail.h"
#include "fl/common/crypto/sha256.h"
#include "fl/common/wire/model_change.h"
#include "fl/server/core/batch.h"
#include "fl/server/core/change_start.h"
#include "fl/server/core/lattice_changes.h"
#include "fl/server/core/round_policy.h"
#include "fl/server/core/version_models.h"

namespace fl::server {
namespace {

constexpr std::uint32_t kSoonMinMs = 10;
constexpr std::uint32_t kSoonMaxMs = 30;

}  // namespace

// Only a check-in makes a client known. One that asks more often than it was told to is written
// down now and then.
Result<> Batch::TouchClient(const RequestArrived& event, bool create) {
  if (event.asked_again) return Ok{};
  const std::string name = ClientName(event.peer);
  FL_TRY(auto client, transaction_.FindClient(plan_.name(), name));
  if (!client && !create) return Ok{};
  if (client && client->last_seen + SeenEvery(plan_.plan().rounds) > now_) return Ok{};
  if (!client) {
    client.emplace();
    client->federation = plan_.name();
    client->name = name;
    client->first_seen = now_;
    ++federation_.clients;
  }
  client->last_seen = now_;
  return transaction_.Put(*client);
}

std::optional<Error> Batch::CheckCapabilities(const wire::CheckInRequest& request) const {
  if (!request.federation.empty() && request.federation != plan_.name()) {
    return Error{ErrorCode::kNotFound, "no federation is called " + request.federation};
  }
  for (const std::uint8_t stage : plan_.stages()) {
    if (std::ranges::find(request.codecs, stage) != request.codecs.end()) continue;
    return Error{ErrorCode::kUnsupported, "codecs: the plan needs stage " + std::to_string(stage) +
                                              ", which the client does not have"};
  }
  return std::nullopt;
}

// A message that comes twice, or after its phase, changes nothing and is no fault.
Result<std::optional<Error>> Batch::TakePhaseMessage(const std::string& client,
                                                     const wire::PhaseMessage& message) {
  using Refused = std::optional<Error>;
  const std::size_t phases = plan_.plan().rounds.phases.size();
  if (std::size_t{message.phase} + 1 >= phases || message.round > federation_.round) {
    return Refused(Error{ErrorCode::kWrongState,
                         "phase message: expected one of a phase that was "
                         "asked for, found phase " +
                             std::to_string(message.phase) + " of round " +
                             std::to_string(message.round),
                         ErrorDetail::kPhaseUnknown});
  }
  FL_TRY(const auto task,
         transaction_.FindTaskOf(plan_.name(), wire::TaskKind::kTrain, message.round, client));
  if (!task) {
    return Refused(Error{ErrorCode::kUnknownTask, "phase message: this client is not in the round",
                         ErrorDetail::kTaskUnknown});
  }
  const bool current = round_ && round_->number == message.round &&
                       round_->state == RoundState::kCollecting && round_->phase == message.phase;
  if (current) {
    Bytes body(message.body.size());
    std::ranges::transform(message.body, body.begin(),
                           [](std::uint8_t byte) { return std::byte{byte}; });
    FL_TRY_OK(transaction_.Put(
        PhaseRow{task->id, message.phase, plan_.name(), message.round, std::move(body)}));
  }
  return Refused();
}

Result<> Batch::AnswerCheckIn(const CheckIn& request, Arrival& arrival) {
  const std::string client = ClientName(arrival.event->peer);
  wire::CheckInAnswer answer;
  answer.federation = plan_.name();
  answer.plan = federation_.plan;
  const Pace pace = PaceOf(plan_.plan().rounds, client, work_is_near());
  answer.again_min_ms = pace.again_min_ms;
  answer.again_max_ms = pace.again_max_ms;
  switch (federation_.state) {
    case FederationState::kRunning:
    case FederationState::kPaused:
      FL_TRY_OK(OfferTrainTask(request.message, client, answer));
      if (!answer.task && !answer.phase) {
        FL_TRY_OK(OfferEvaluateTask(request.message, client, answer));
      }
      break;
    case FederationState::kCalibrating:
      FL_TRY_OK(OfferEvaluateTask(request.message, client, answer));
      if (!answer.task) FL_TRY_OK(OfferCalibrateTask(request.message, client, answer));
      break;
    case FederationState::kDeploying:
    case FederationState::kDone:
      FL_TRY_OK(OfferEvaluateTask(request.message, client, answer));
      if (!answer.task) FL_TRY_OK(OfferDeployTask(request.message, client, answer));
      break;
    case FederationState::kStopped:
      answer.done = true;
      break;
  }
  // A client that can be held up comes back as soon as it has answered: what is next may begin at
  // any moment.
  if ((answer.task || answer.phase) && request.message.wait) {
    answer.again_min_ms = std::min(answer.again_min_ms, kSoonMinMs);
    answer.again_max_ms = std::min(answer.again_max_ms, kSoonMaxMs);
  }
  const bool idle = !answer.task && !answer.phase && !answer.done;
  arrival.may_wait = idle && request.message.wait && arrival.event->may_hold;
  if (answer.done) {
    FL_TRY(auto row, transaction_.FindClient(plan_.name(), client));
    if (row && !row->told_done) {
      row->told_done = true;
      FL_TRY_OK(transaction_.Put(*row));
    }
  }
  arrival.answer = net::Response{200, {}, wire::Encode(answer)};
  return Ok{};
}

Result<> Batch::OfferTrainTask(const wire::CheckInRequest& request, const std::string& client,
                               wire::CheckInAnswer& answer) {
  if (!round_ || round_->state != RoundState::kCollecting) return Ok{};
  FL_TRY(const auto task,
         transaction_.FindTaskOf(plan_.name(), wire::TaskKind::kTrain, round_->number, client));
  if (!task || task->state == TaskState::kAccepted) return Ok{};
  if (!is_last_phase()) {
    FL_TRY(const bool answered, transaction_.HasPhase(task->id, round_->phase));
    if (answered) return Ok{};
    answer.phase = wire::PhaseMessage{round_->number, static_cast<std::uint8_t>(round_->phase), {}};
    return Ok{};
  }
  FL_TRY(answer.task, BuildTask(*task, request));
  return Ok{};
}

Result<> Batch::OfferEvaluateTask(const wire::CheckInRequest& request, const std::string& client,
                                  wire::CheckInAnswer& answer) {
  if (plan_.plan().evaluation.clients == 0) return Ok{};
  FL_TRY(const auto task, transaction_.FindTaskOf(plan_.name(), wire::TaskKind::kEvaluate,
                                                  federation_.version, client));
  if (!task || task->state == TaskState::kAccepted) return Ok{};
  FL_TRY(answer.task, BuildTask(*task, request));
  return Ok{};
}

// Each client gets one deploy task, for the newest version, and is done once it has answered it.
Result<> Batch::OfferDeployTask(const wire::CheckInRequest& request, const std::string& client,
                                wire::CheckInAnswer& answer) {
  if (!plan_.deploys()) {
    answer.done = true;
    return Ok{};
  }
  FL_TRY(auto task, transaction_.FindTaskOf(plan_.name(), wire::TaskKind::kDeploy, 0, client));
  if (task && task->state == TaskState::kAccepted) {
    answer.done = true;
    return Ok{};
  }
  if (!task) {
    task.emplace();
    task->id = TaskIdOf(plan_.name(), wire::TaskKind::kDeploy, 0, client);
    task->federation = plan_.name();
    task->kind = wire::TaskKind::kDeploy;
    task->client = client;
  }
  if (task->base_version != federation_.version) {
    task->base_version = federation_.version;
    FL_TRY_OK(transaction_.Put(*task));
  }
  FL_TRY(answer.task, BuildTask(*task, request));
  return Ok{};
}

Result<wire::Task> Batch::BuildTask(const TaskRow& row, const wire::CheckInRequest& request) {
  wire::Task task;
  task.id = row.id;
  task.kind = row.kind;
  task.round = row.round;
  const bool train = row.kind == wire::TaskKind::kTrain;
  const Duration left = round_ ? round_->deadline_at - now_ : Duration(0);
  const double deadline_s = train ? ToSeconds(left) : plan_.plan().rounds.deadline_s;
  task.deadline_s = static_cast<std::uint32_t>(std::clamp(deadline_s + 0.999999, 1.0, 4e9));
  task.asked = static_cast<std::uint32_t>(train ? round_->cohort : federation_.clients);
  FL_TRY(task.model, SourceOf(row.base_version, train ? Edition::kPublished : Edition::kReleased,
                              request.version_held));
  task.recipe = plan_.recipe();
  const Bytes& initial = plan_.initial_parameters().bytes;
  if (train && !initial.empty()) {
    task.round_parameters = round_->parameters ? *round_->parameters : crypto::Sha256(initial);
  }
  if (row.kind == wire::TaskKind::kDeploy) {
    FL_TRY(task.round_parameters, FindRanges(row.base_version));
  }
  return task;
}

// Nothing for version 0, which the seed makes, nor for what the client holds; else the smallest of
// the whole model, the change from the version held and, where every version has one, the change
// from version 0, which any client can make.
Result<wire::ModelSource> Batch::SourceOf(std::uint64_t version, Edition edition,
                                          std::optional<std::uint64_t> version_held) {
  FL_TRY(const auto model, transaction_.FindModel(plan_.name(), version));
  if (!model) {
    return Error{ErrorCode::kInternal,
                 plan_.name() + ": version " + std::to_string(version) + " is not stored"};
  }
  if (model->released == model->digest) edition = Edition::kPublished;
  wire::ModelSource source;
  source.version = version;
  source.digest = edition == Edition::kReleased ? model->released : model->digest;
  const bool held = edition == Edition::kPublished && version_held == version;
  if (version == 0 || held) return source;
  source.blob = source.digest;
  source.blob_bytes = model->bytes;
  const bool seeded = plan_.lattice() != nullptr || PublishesHalf(plan_);
  std::vector<std::uint64_t> bases;
  if (version_held) bases.push_back(*version_held);
  if (seeded && version_held != 0U) bases.push_back(0);
  for (const std::uint64_t base : bases) {
    FL_TRY(const auto change, ChangeTo(*model, edition, base));
    if (!change || change->bytes >= source.blob_bytes) continue;
    source.change_from = change->from;
    source.blob = change->blob;
    source.blob_bytes = change->bytes;
  }
  return source;
}

// The change from a published version, where there is one. On a lattice there is one from each
// version, made when the first client asks for it, as the one to a released model
// always is.
Result<std::optional<ChangeRow>> Batch::ChangeTo(const ModelRow& model, Edition edition,
                                                 std::uint64_t from) {
  using MaybeChange = std::optional<ChangeRow>;
  MaybeChange change;
  if (plan_.lattice() != nullptr) {
    FL_TRY(change, LatticeChangeTo(transaction_, plan_, model, edition, from));
  } else {
    FL_TRY(change, transaction_.FindChange(plan_.name(), from, model.version, edition));
    if (!change && edition == Edition::kReleased) {
      FL_TRY(change, MakeReleasedChange(model, from));
    }
  }
  return change;
}

Result<std::optional<ChangeRow>> Batch::MakeReleasedChange(const ModelRow& model,
                                                           std::uint64_t from) {
  using MaybeChange = std::optional<ChangeRow>;
  const std::string& name = plan_.name();
  FL_TRY(const auto base_row, transaction_.FindModel(name, from));
  if (!base_row) return MaybeChange();
  FL_TRY(const auto base, transaction_.ReadBlob(base_row->digest));
  FL_TRY(const auto next, transaction_.ReadBlob(model.released));
  const bool known = base || from == 0;
  if (!known || !next) return MaybeChange();
  const std::vector<float> start = from == 0 ? ChangeStart(plan_) : ToFloats(*base);
  const std::vector<float> released = ToFloats(*next);
  if (start.size() != released.size()) return MaybeChange();
  const Bytes change = wire::EncodeModelChange(start, released);
  const ChangeRow row{
      name, from, model.version, crypto::Sha256(change), change.size(), Edition::kReleased};
  FL_TRY_OK(transaction_.PutBlob(name, row.blob, change));
  FL_TRY_OK(transaction_.Put(row));
  return MaybeChange(row);
}

}  // namespace fl::server
