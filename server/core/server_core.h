#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "fl/common/base/clock.h"
#include "fl/common/net/message.h"
#include "fl/server/core/admin.h"
#include "fl/server/core/admit.h"
#include "fl/server/core/federation_plan.h"
#include "fl/server/core/offences.h"
#include "fl/server/core/run_fold.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

// A request came in. `checked`, where a shell ran CheckRequest before, spares the core that work.
struct RequestArrived {
  std::uint64_t id = 0;  // The shell's own; comes back with the reply.
  net::Peer peer;
  net::Request request;
  std::shared_ptr<const Result<CheckedUpdate>>
      checked;               // Shared: a batch may be handled again after a conflict.
  bool may_hold = false;     // The shell can hold a check-in up and ask again when it is woken.
  bool asked_again = false;  // It was held: nothing is new but, perhaps, the answer.
};
struct TimerFired {};
struct FoldDone {
  std::uint64_t round = 0;
  std::shared_ptr<const Result<RoundResult>> result;  // Shared for the same reason.
};
// The server's own measurement of a version: of the released model, and of the published one where
// that is another.
struct Evaluated {
  std::uint64_t version = 0;
  double loss = 0;
  double accuracy = 0;  // In [0, 1].
  std::optional<double> loss_published = std::nullopt;
  std::optional<double> accuracy_published = std::nullopt;
};
using ServerEvent = std::variant<RequestArrived, TimerFired, FoldDone, Evaluated>;

struct ServerReply {
  std::uint64_t id = 0;
  net::Response response;
  // Only for a request with may_hold: there is no task and the client accepts to wait. The shell
  // does not send `response`; it asks again when the client is woken, and for the last time, with
  // may_hold false, after at most 30 s.
  bool may_wait = false;
  // The request was a piece of an upload, and is stored in that attempt (TaskRow).
  std::optional<std::uint64_t> stored_piece_of = std::nullopt;
};

// Run RunFold(storage, plan, round) and hand the result back as FoldDone.
struct StartFold {
  std::uint64_t round = 0;
};
// Measure that version (EvaluateVersion) on the plan's evaluation data and hand the result back as
// Evaluated.
struct Evaluate {
  std::uint64_t version = 0;
};
using ServerCommand = std::variant<StartFold, Evaluate>;

// Where a federation stood at the end of a batch.
struct Standing {
  FederationState state = FederationState::kRunning;
  std::uint64_t version = 0;
  std::uint64_t clients = 0;
  std::uint64_t round = 0;  // The newest one, and 0 before the first; its cohort and updates.
  std::uint64_t cohort = 0;
  std::uint64_t accepted = 0;
};

// What a batch did, for logs and figures; nothing is decided by it.
struct BatchAccount {
  std::map<ErrorCode, std::uint64_t> refused;        // Requests.
  std::map<wire::TaskKind, std::uint64_t> accepted;  // Updates, each once.
  Traffic traffic;
  std::vector<RoundRow> rounds;         // As they were after each change of a round's state.
  std::vector<FederationState> states;  // That the federation came to.
  Standing standing;
};

struct ServerOutput {
  std::vector<ServerReply> replies;  // One for each RequestArrived, in their order.
  std::vector<ServerCommand> commands;
  TimePoint wake_at = kNever;  // Send TimerFired then.
  // Whose held check-ins are worth asking again, by ClientName: everybody's, or some.
  bool wakes_all = false;
  std::vector<std::string> wakes;
  std::optional<Error> failure;  // The storage failed: for the log. Nothing was stored.
  bool done = false;  // The federation is done and every client that is present was told so.
  BatchAccount account;
};

struct ServerOptions {
  bool evaluates = false;  // The shell can carry out Evaluate.
  OffencePolicy offences{};
};

// Rounds of one federation: a state machine that knows neither sockets nor clocks. All state is in
// the storage; what the core holds besides are hints that may be lost (which commands were given).
// A batch runs in one transaction; on kConflict it runs again. When the storage fails, each of the
// batch's requests is answered 503, and nothing has happened; an admin's pages are still read.
// Thread safety: one call at a time for an object; any number of objects, in any processes, over
// one storage.
class ServerCore {
 public:
  // Creates the federation with version 0 of its model, or takes up what the storage holds.
  // kWrongState: the storage has a federation of that name with another plan (only rounds.count,
  // rounds.deadline_s and rounds.wait_s may differ). `storage` must outlive the core.
  static Result<std::unique_ptr<ServerCore>> Create(Storage& storage,
                                                    std::shared_ptr<const FederationPlan> plan,
                                                    TimePoint now, ServerOptions options = {});

  // What must be durable is stored when it returns: the replies may leave.
  ServerOutput Handle(std::span<const ServerEvent> batch, TimePoint now);

  const FederationPlan& plan() const { return *plan_; }

 private:
  ServerCore(Storage& storage, std::shared_ptr<const FederationPlan> plan, ServerOptions options)
      : storage_(storage), plan_(std::move(plan)), options_(options) {}
  Result<ServerOutput> TryHandle(std::span<const ServerEvent> batch, TimePoint now,
                                 TransactionMode mode);
  ServerOutput Unavailable(std::span<const ServerEvent> batch, TimePoint now,
                           const Error& error) const;
  net::Response AnswerUnstored(const RequestArrived& arrived, TimePoint now) const;
  void DropRepeatedCommands(ServerOutput& output);

  Storage& storage_;
  std::shared_ptr<const FederationPlan>
      plan_;  // Shared with the shell, whose jobs may outlive a core.
  ServerOptions options_;
  std::optional<StorageFailure> storage_failure_;
  std::optional<std::uint64_t>
      fold_started_;  // Hints: a core that lost them gives the command again.
  std::set<std::uint64_t> evaluations_started_;
};

}  // namespace fl::server
