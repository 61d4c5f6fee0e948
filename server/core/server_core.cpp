#include "fl/server/core/server_core.h"

#include <algorithm>

#include "fl/common/crypto/sha256.h"
#include "fl/server/core/batch.h"
#include "fl/server/core/plan_identity.h"

namespace fl::server {
namespace {

// A batch that lost against another writer is begun again; from the second time on it waits for its
// turn.
constexpr int kAttemptsMax = 5;

Result<> CreateFederation(Transaction& transaction, const FederationPlan& plan, TimePoint now) {
  const std::vector<float> model = plan.InitialModel();
  const ByteSpan bytes = std::as_bytes(std::span(model));
  FederationRow federation;
  federation.name = plan.name();
  federation.plan = plan.digest();
  federation.plan_text = plan.plan().source;
  federation.created_at = now;
  FL_TRY_OK(transaction.Put(federation));
  ModelRow row;
  row.federation = plan.name();
  row.digest = crypto::Sha256(bytes);
  row.released = row.digest;
  row.bytes = bytes.size();
  FL_TRY_OK(transaction.PutBlob(plan.name(), row.digest, bytes));
  return transaction.Put(row);
}

// What the plan says beside the state: its text and what the clients of each round share, as blobs.
Result<> StorePlan(Transaction& transaction, const FederationPlan& plan) {
  const std::string& text = plan.plan().source;
  FL_TRY_OK(transaction.PutBlob(plan.name(), plan.digest(), AsBytes(text)));
  const Bytes& parameters = plan.initial_parameters().bytes;
  if (parameters.empty()) return Ok{};
  return transaction.PutBlob(plan.name(), crypto::Sha256(parameters), parameters);
}

Result<> TakeUp(Storage& storage, const FederationPlan& plan, TimePoint now) {
  FL_TRY(const auto transaction, storage.Begin(plan.name(), TransactionMode::kExclusive));
  FL_TRY(auto federation, transaction->FindFederation(plan.name()));
  if (!federation) {
    FL_TRY_OK(CreateFederation(*transaction, plan, now));
  } else if (federation->plan != plan.digest()) {
    FL_TRY_OK(CheckSamePlan(federation->plan_text, plan.plan().source, plan.name()));
    federation->plan = plan.digest();
    federation->plan_text = plan.plan().source;
    const bool more_rounds = federation->published < plan.plan().rounds.count;
    const bool over = federation->state == FederationState::kCalibrating ||
                      federation->state == FederationState::kDeploying ||
                      federation->state == FederationState::kDone;
    if (over && more_rounds) federation->state = FederationState::kRunning;
    FL_TRY_OK(transaction->Put(*federation));
  }
  FL_TRY_OK(StorePlan(*transaction, plan));
  return transaction->Commit();
}

// What exactly broke is for the operator, not for the devices.
Error CannotStore() {
  return {ErrorCode::kUnavailable, "the server cannot store anything now; try again"};
}

}  // namespace

Result<std::unique_ptr<ServerCore>> ServerCore::Create(Storage& storage,
                                                       std::shared_ptr<const FederationPlan> plan,
                                                       TimePoint now, ServerOptions options) {
  FL_TRY_OK(TakeUp(storage, *plan, now));
  return std::unique_ptr<ServerCore>(new ServerCore(storage, std::move(plan), options));
}

ServerOutput ServerCore::Handle(std::span<const ServerEvent> batch, TimePoint now) {
  for (const ServerEvent& event : batch) {
    const auto* done = std::get_if<FoldDone>(&event);
    if (done != nullptr && fold_started_ == done->round) fold_started_.reset();
    // Where the outcome cannot be stored, its version is still without one and is asked for again.
    const auto* evaluated = std::get_if<Evaluated>(&event);
    if (evaluated != nullptr) evaluations_started_.erase(evaluated->version);
  }
  Error error;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    const TransactionMode mode =
        attempt == 0 ? TransactionMode::kOptimistic : TransactionMode::kExclusive;
    Result<ServerOutput> output = TryHandle(batch, now, mode);
    if (output) {
      DropRepeatedCommands(*output);
      return std::move(*output);
    }
    error = output.error();
    if (error.code != ErrorCode::kConflict) break;
  }
  storage_failure_ = {now, error.message};
  return Unavailable(batch, now, error);
}

Result<ServerOutput> ServerCore::TryHandle(std::span<const ServerEvent> batch, TimePoint now,
                                           TransactionMode mode) {
  FL_TRY(const auto transaction, storage_.Begin(plan_->name(), mode));
  FL_TRY(ServerOutput output,
         Batch(*transaction, *plan_, options_, {now, storage_failure_}).Run(batch));
  FL_TRY_OK(transaction->Commit());
  return output;
}

ServerOutput ServerCore::Unavailable(std::span<const ServerEvent> batch, TimePoint now,
                                     const Error& error) const {
  constexpr std::uint32_t kAgainMinMs = 1000;
  constexpr std::uint32_t kAgainMaxMs = 3000;
  ServerOutput output;
  output.failure = error;
  output.wake_at = now + std::chrono::milliseconds(kAgainMinMs);
  for (const ServerEvent& event : batch) {
    const auto* arrived = std::get_if<RequestArrived>(&event);
    if (arrived == nullptr) continue;
    if (arrived->peer.role == net::Role::kAdmin) {
      output.replies.push_back({arrived->id, AnswerUnstored(*arrived, now)});
    } else {
      output.replies.push_back(
          {arrived->id, RefusalResponse(CannotStore(), kAgainMinMs, kAgainMaxMs)});
    }
  }
  return output;
}

// An operator can look at what there is when nothing can be stored: that is when it is needed.
net::Response ServerCore::AnswerUnstored(const RequestArrived& arrived, TimePoint now) const {
  const Result<DecodedRequest> request = DecodeRequest(arrived.peer, arrived.request);
  if (!request) return RefusalOfAdmin(arrived.request, request.error());
  if (const auto* read = std::get_if<AdminRead>(&*request)) {
    const auto transaction = storage_.Begin(plan_->name(), TransactionMode::kOptimistic);
    if (transaction) {
      Result<net::Response> page =
          AnswerAdminRead(**transaction, *plan_, *read, {now, storage_failure_});
      if (page) return std::move(*page);
    }
  }
  return AdminRefusalResponse(CannotStore());
}

// Rows say what is to be done; this says what this core has asked its shell for already.
void ServerCore::DropRepeatedCommands(ServerOutput& output) {
  std::erase_if(output.commands, [this](const ServerCommand& command) {
    if (const auto* fold = std::get_if<StartFold>(&command)) {
      return std::exchange(fold_started_, fold->round) == fold->round;
    }
    return !evaluations_started_.insert(std::get<Evaluate>(command).version).second;
  });
}

}  // namespace fl::server
