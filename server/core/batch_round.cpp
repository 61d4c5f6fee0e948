#include <algorithm>
#include <set>

#include "fl/common/crypto/sha256.h"
#include "fl/server/core/batch.h"
#include "fl/server/core/round_parameters.h"
#include "fl/server/core/round_policy.h"

namespace fl::server {
namespace {

// How many versions the evaluation may lie behind the newest one before some go without.
constexpr std::uint64_t kEvaluationsBehindMax = 16;

// Consecutive abandoned rounds that are worth an event of their own.
constexpr std::uint64_t kAbandonedAlarm = 3;

// How long a round waits for clients that are known but were not heard of lately.
Duration SelectionPatience(const RoundsConfig& rounds) {
  return FromSeconds(std::min(rounds.deadline_s, std::max(30.0, 4 * rounds.wait_s)));
}

}  // namespace

bool Batch::round_is_open() const {
  return round_ && round_->state != RoundState::kPublished &&
         round_->state != RoundState::kAbandoned;
}

bool Batch::is_collecting() const {
  return round_ && round_->state == RoundState::kCollecting && is_last_phase();
}

bool Batch::is_last_phase() const {
  return round_->phase + 1 >= plan_.plan().rounds.phases.size();
}

bool Batch::work_is_near() const {
  if (federation_.state == FederationState::kCalibrating ||
      federation_.state == FederationState::kDeploying) {
    return true;
  }
  if (federation_.state != FederationState::kRunning) return false;
  if (!round_is_open()) return federation_.round > 0;
  if (round_->state != RoundState::kCollecting || !is_last_phase()) return true;
  return round_->accepted + 1 >= GoalOf(plan_.plan().rounds, *round_);
}

// Moves on until nothing moves any more; each step either changes a state or ends the loop.
Result<> Batch::Advance() {
  while (true) {
    NoteProgress();
    FL_TRY(const bool moved, AdvanceRound());
    if (!moved) return Ok{};
  }
}

Result<bool> Batch::AdvanceRound() {
  if (federation_.state == FederationState::kCalibrating ||
      federation_.state == FederationState::kDeploying) {
    const bool calibrates = federation_.state == FederationState::kCalibrating;
    FL_TRY(const bool moved, calibrates ? AdvanceCalibration() : AdvanceDeployment());
    wakes_all_ |= moved;
    return moved;
  }
  if (federation_.state != FederationState::kRunning &&
      federation_.state != FederationState::kPaused) {
    return false;
  }
  if (round_is_open()) {
    switch (round_->state) {
      case RoundState::kSelecting:
        return Select();
      case RoundState::kCollecting:
        return is_last_phase() ? CloseOrWait() : AdvancePhase();
      default:
        return false;
    }
  }
  if (federation_.published >= plan_.plan().rounds.count) {
    federation_.state = plan_.deploys() ? FederationState::kDeploying : FederationState::kDone;
    federation_.deploying_at = now_;
    if (plan_.checked().calibration) FL_TRY_OK(BeginCalibration());
    const std::uint64_t late =
        std::min<std::uint64_t>(plan_.plan().rounds.max_staleness, federation_.round - 1);
    for (std::uint64_t number = federation_.round - late; number <= federation_.round; ++number) {
      FL_TRY_OK(journal_.DiscardUnfinished(plan_.name(), number));
    }
    FL_TRY_OK(Note("the last round is published"));
    wakes_all_ = true;
    return true;
  }
  if (federation_.state == FederationState::kPaused) return false;
  if (federation_.clients < plan_.plan().rounds.population_min) return false;
  return OpenRound();
}

Result<bool> Batch::OpenRound() {
  RoundRow round;
  round.federation = plan_.name();
  round.number = ++federation_.round;
  round.base_version = federation_.version;
  round.opened_at = now_;
  round.deadline_at = now_ + SelectionPatience(plan_.plan().rounds);
  round.parameters = federation_.parameters;
  FL_TRY_OK(DropOldParameters(transaction_, plan_, round));
  const std::uint64_t late = plan_.plan().rounds.max_staleness;
  if (round.number >= late + 2) {
    FL_TRY_OK(journal_.DiscardUnfinished(plan_.name(), round.number - late - 1));
  }
  round_ = round;
  return true;
}

Result<std::vector<std::string>> Batch::PresentClients() {
  const TimePoint since = now_ - PresenceOf(plan_.plan().rounds);
  FL_TRY(std::vector<std::string> present, transaction_.ClientsSeen(plan_.name(), since));
  FL_TRY(const std::vector<OffenderRow> offenders, transaction_.Offenders(plan_.name()));
  const auto waits = [&](const std::string& name) {
    const auto found = std::ranges::lower_bound(offenders, name, {}, &OffenderRow::client);
    return found != offenders.end() && found->client == name && found->held_until > now_;
  };
  std::erase_if(present, waits);
  return present;
}

Result<bool> Batch::Select() {
  const RoundsConfig& rounds = plan_.plan().rounds;
  FL_TRY(const std::vector<std::string> present, PresentClients());
  const std::uint64_t wanted = CohortSize(rounds, federation_.clients);
  const bool patient = now_ < round_->deadline_at;
  if (present.size() < rounds.min_report || (present.size() < wanted && patient)) return false;
  const std::vector<std::string> cohort =
      SampleCohort(plan_.plan().seed, round_->number, present, CohortSize(rounds, present.size()));
  for (std::size_t slot = 0; slot < cohort.size(); ++slot) {
    TaskRow task;
    task.id = TaskIdOf(plan_.name(), wire::TaskKind::kTrain, round_->number, cohort[slot]);
    task.federation = plan_.name();
    task.round = round_->number;
    task.slot = slot;
    task.client = cohort[slot];
    task.base_version = round_->base_version;
    FL_TRY_OK(transaction_.Put(task));
  }
  wakes_.insert(wakes_.end(), cohort.begin(), cohort.end());
  round_->cohort = cohort.size();
  round_->state = RoundState::kCollecting;
  round_->deadline_at = now_ + FromSeconds(rounds.deadline_s);
  return true;
}

// A phase before the last one is over when each of the cohort has answered, or at its deadline when
// enough have.
Result<bool> Batch::AdvancePhase() {
  const RoundsConfig& rounds = plan_.plan().rounds;
  FL_TRY(const std::uint64_t answered,
         transaction_.CountPhases(plan_.name(), round_->number, round_->phase));
  const bool late = now_ >= round_->deadline_at;
  if (answered < round_->cohort && !late) return false;
  if (answered < round_->cohort && answered < rounds.min_report) {
    FL_TRY_OK(Abandon("phase " + rounds.phases[round_->phase] + ": " + std::to_string(answered) +
                      " answered by the deadline, expected at least " +
                      std::to_string(rounds.min_report)));
    return true;
  }
  wakes_all_ = true;
  ++round_->phase;
  round_->deadline_at = now_ + FromSeconds(rounds.deadline_s);
  return true;
}

Result<bool> Batch::CloseOrWait() {
  switch (DecideClosing(plan_.plan().rounds, *round_, now_)) {
    case Closing::kStaysOpen:
      return false;
    case Closing::kAbandon:
      FL_TRY_OK(Abandon(std::to_string(round_->accepted) +
                        " updates by the deadline, expected at least " +
                        std::to_string(plan_.plan().rounds.min_report)));
      return true;
    case Closing::kFold:
      round_->goal_reached = round_->accepted >= GoalOf(plan_.plan().rounds, *round_);
      round_->state = RoundState::kFolding;
      round_->closed_at = now_;
      return true;
  }
  return false;
}

// The model stays; the next round opens.
Result<> Batch::Abandon(const std::string& why) {
  std::string missing;
  if (round_->state == RoundState::kCollecting) {
    FL_TRY(const std::vector<TaskRow> cohort, transaction_.Cohort(plan_.name(), round_->number));
    for (const TaskRow& task : cohort) {
      if (task.state == TaskState::kAccepted || missing.size() > 500) continue;
      missing += (missing.empty() ? "; missing: " : ", ") + task.client;
    }
  }
  round_->state = RoundState::kAbandoned;
  round_->closed_at = now_;
  FL_TRY_OK(journal_.DropBodies(plan_.name(), round_->number));
  FL_TRY_OK(Note("round abandoned: " + why + missing));
  if (++federation_.abandoned % kAbandonedAlarm == 0) {
    FL_TRY_OK(Note(std::to_string(federation_.abandoned) + " rounds abandoned in a row"));
  }
  return transaction_.Put(*round_);
}

Result<> Batch::TakeFold(const FoldDone& done) {
  // Another core, or this one before a restart, may have stored the same result already.
  if (!round_ || round_->number != done.round || round_->state != RoundState::kFolding) return Ok{};
  if (!*done.result) {
    const Error& error = done.result->error();
    // A conflict or a failing disk mends itself; the command is given again.
    return Note("fold failed: " + error.message);
  }
  const RoundResult& result = **done.result;
  FL_TRY_OK(StoreModel(result));
  FL_TRY_OK(AskEvaluators());
  round_->state = RoundState::kPublished;
  round_->version = federation_.version;
  round_->published_at = now_;
  round_->examples = result.metrics.examples;
  round_->loss_trained = result.metrics.loss_trained;
  round_->loss_before = result.metrics.loss_before;
  round_->accuracy_before = result.metrics.accuracy_before;
  ++federation_.published;
  federation_.abandoned = 0;
  FL_TRY_OK(transaction_.Put(*round_));
  if (!plan_.plan().aggregation.keep_updates) {
    FL_TRY_OK(journal_.DropBodies(plan_.name(), round_->number));
  }
  return DropOldBlobs();
}

Result<> Batch::StoreModel(const RoundResult& result) {
  ++federation_.version;
  const std::string& name = plan_.name();
  FL_TRY_OK(transaction_.PutBlob(name, result.digest, result.model));
  ModelRow model;
  model.federation = name;
  model.version = federation_.version;
  model.digest = result.digest;
  model.released = result.digest;
  if (result.released) {
    model.released = crypto::Sha256(*result.released);
    FL_TRY_OK(transaction_.PutBlob(name, model.released, *result.released));
  }
  model.bytes = result.model.size();
  model.round = round_->number;
  FL_TRY_OK(transaction_.Put(model));
  for (const EncodedChange& change : result.changes) {
    const Digest digest = crypto::Sha256(change.bytes);
    FL_TRY_OK(transaction_.PutBlob(name, digest, change.bytes));
    FL_TRY_OK(transaction_.Put(
        ChangeRow{name, change.from, federation_.version, digest, change.bytes.size()}));
  }
  for (const auto& [tensor, bytes] : result.tensors) {
    FL_TRY_OK(transaction_.PutTensor(name, tensor, bytes));
  }
  if (result.next_parameters) {
    federation_.parameters = crypto::Sha256(*result.next_parameters);
    FL_TRY_OK(transaction_.PutBlob(name, *federation_.parameters, *result.next_parameters));
  }
  return Ok{};
}

// A client that has no other work then measures the version, for as long as it is the newest.
Result<> Batch::AskEvaluators() {
  const std::uint64_t count = plan_.plan().evaluation.clients;
  if (count == 0) return Ok{};
  FL_TRY(const std::vector<std::string> present, PresentClients());
  for (const std::string& client :
       SampleEvaluators(plan_.plan().seed, federation_.version, present, count)) {
    TaskRow task;
    task.id = TaskIdOf(plan_.name(), wire::TaskKind::kEvaluate, federation_.version, client);
    task.federation = plan_.name();
    task.kind = wire::TaskKind::kEvaluate;
    task.round = federation_.version;
    task.client = client;
    task.base_version = federation_.version;
    FL_TRY_OK(transaction_.Put(task));
    wakes_.push_back(client);
  }
  return Ok{};
}

// Published models are kept while a client may be sent to them or a change may start from them: the
// current one, and as far back as changes reach and as stale tasks do. Released ones are kept until
// the next one comes. A version that is still to be measured keeps both.
Result<> Batch::DropOldBlobs() {
  const Plan& plan = plan_.plan();
  const bool lattice = plan_.lattice() != nullptr;
  const std::uint64_t changes_back = lattice ? 0 : plan.aggregation.change_versions_max;
  const std::uint64_t back = 1 + std::max<std::uint64_t>(changes_back, plan.rounds.max_staleness);
  const std::uint64_t oldest = federation_.version > back ? federation_.version - back : 0;
  // What lies further back was dropped when an earlier version came.
  const std::uint64_t seen = back + kEvaluationsBehindMax + 1;
  FL_TRY(
      const std::vector<ModelRow> models,
      transaction_.Models(plan_.name(), federation_.version - std::min(seen, federation_.version)));
  std::set<Digest> kept;
  for (const ModelRow& model : models) {
    const bool awaits_evaluation = options_.evaluates && !model.loss &&
                                   model.version + kEvaluationsBehindMax > federation_.version;
    if (model.version >= oldest || awaits_evaluation) kept.insert(model.digest);
    if (model.version == federation_.version || awaits_evaluation) kept.insert(model.released);
  }
  for (const ModelRow& model : models) {
    for (const Digest& digest : {model.digest, model.released}) {
      if (kept.contains(digest)) continue;
      FL_TRY_OK(transaction_.DropBlob(digest));
    }
  }
  return DropOldChanges(oldest);
}

// On a lattice the changes from version 0 are what all others are made of.
Result<> Batch::DropOldChanges(std::uint64_t oldest) {
  const bool lattice = plan_.lattice() != nullptr;
  FL_TRY(const std::vector<ChangeRow> changes, transaction_.Changes(plan_.name()));
  std::set<Digest> kept;
  std::vector<ChangeRow> dropped;
  for (const ChangeRow& change : changes) {
    const bool point = lattice && change.from == 0 && change.edition == Edition::kPublished;
    if (point || change.to >= oldest) {
      kept.insert(change.blob);
    } else {
      dropped.push_back(change);
    }
  }
  for (const ChangeRow& change : dropped) {
    FL_TRY_OK(transaction_.DropChange(change));
    if (!kept.contains(change.blob)) FL_TRY_OK(transaction_.DropBlob(change.blob));
  }
  return Ok{};
}

// Done when each client that is known has said how its deployment went, or the time for it is over.
Result<bool> Batch::AdvanceDeployment() {
  FL_TRY(const std::vector<DeploymentRow> rows, transaction_.Deployments(plan_.name()));
  const TimePoint deadline = federation_.deploying_at + FromSeconds(plan_.plan().rounds.deadline_s);
  if (rows.size() < federation_.clients && now_ < deadline) return false;
  federation_.state = FederationState::kDone;
  FL_TRY_OK(Note("the federation is done: " + std::to_string(rows.size()) + " of " +
                 std::to_string(federation_.clients) + " clients reported a deployment"));
  return true;
}

Result<> Batch::ListCommands(ServerOutput& output) {
  if (round_ && round_->state == RoundState::kFolding) {
    output.commands.emplace_back(StartFold{round_->number});
  }
  bool evaluated = true;
  const std::uint64_t newest = options_.evaluates ? federation_.version : 0;
  const std::uint64_t skipped = newest > kEvaluationsBehindMax ? newest - kEvaluationsBehindMax : 0;
  for (std::uint64_t version = skipped + 1; version <= newest; ++version) {
    FL_TRY(const auto model, transaction_.FindModel(plan_.name(), version));
    if (!model || model->loss) continue;
    evaluated = false;
    output.commands.emplace_back(Evaluate{version});
  }
  if (federation_.state != FederationState::kDone &&
      federation_.state != FederationState::kStopped) {
    return Ok{};
  }
  FL_TRY(const std::vector<ClientRow> clients, transaction_.Clients(plan_.name()));
  const Duration patience =
      FromSeconds(std::max(2.0, 3 * plan_.plan().rounds.wait_s)) + SeenEvery(plan_.plan().rounds);
  output.done = evaluated && std::ranges::all_of(clients, [&](const ClientRow& client) {
                  return client.told_done || client.last_seen + patience < now_;
                });
  return Ok{};
}

TimePoint Batch::WakeAt() const {
  if (federation_.state == FederationState::kCalibrating ||
      federation_.state == FederationState::kDeploying) {
    return federation_.deploying_at + FromSeconds(plan_.plan().rounds.deadline_s);
  }
  if (!round_is_open() || round_->state == RoundState::kFolding) return kNever;
  // A round whose selection has waited long enough waits for a check-in, which is an event of its
  // own.
  if (round_->state == RoundState::kSelecting && now_ >= round_->deadline_at) return kNever;
  return round_->deadline_at;
}

}  // namespace fl::server
