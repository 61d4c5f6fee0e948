#include "fl/server/http/federation_strand.h"

#include <algorithm>
#include <utility>

#include "fl/server/core/admin.h"

namespace fl::server {
namespace {

constexpr std::size_t kBatchMax = 100;
constexpr std::size_t kQueueMax = 20000;
constexpr Duration kHoldMax = std::chrono::seconds(30);
constexpr Duration kFoldPause = std::chrono::seconds(1);

}  // namespace

FederationStrand::FederationStrand(std::unique_ptr<ServerCore> core, Storage& storage,
                                   ThreadPool& pool, Measure measure, const Logger& logger)
    : core_(std::move(core)),
      storage_(storage),
      pool_(pool),
      measure_(std::move(measure)),
      logger_(logger),
      wake_at_us_(0),  // The first tick finds out what a restart has to go on with.
      oldest_held_us_(ToMicroseconds(kNever)) {}

void FederationStrand::Post(net::Peer peer, net::Request request,
                            std::shared_ptr<const Result<CheckedUpdate>> checked,
                            std::unique_ptr<net::Responder> responder) {
  RequestArrived arrived;
  arrived.peer = std::move(peer);
  arrived.request = std::move(request);
  arrived.checked = std::move(checked);
  arrived.may_hold = true;
  Push({std::move(arrived), std::move(responder), clock_.Now()});
}

// A full or stopped queue drops the responder, which answers 503.
void FederationStrand::Push(Item item) {
  const bool start = queue_.With([&](Queue& queue) {
    const bool request = item.responder != nullptr;
    if (queue.stopped || (request && queue.items.size() >= kQueueMax)) return false;
    queue.items.push_back(std::move(item));
    return !std::exchange(queue.scheduled, true);
  });
  if (start) Schedule();
}

void FederationStrand::Schedule() {
  pool_.Post([this] { Drain(); });
}

void FederationStrand::Tick(TimePoint now, bool changed_elsewhere) {
  const std::int64_t now_us = ToMicroseconds(now);
  const bool expired = oldest_held_us_ <= ToMicroseconds(now - kHoldMax);
  const bool due = wake_at_us_ <= now_us;
  if (!expired && !due && !changed_elsewhere) return;
  if (due) wake_at_us_ = ToMicroseconds(kNever);
  if (changed_elsewhere) queue_.With([](Queue& queue) { queue.ask_again = true; });
  Push({TimerFired{}, nullptr, now});
}

void FederationStrand::Stop() {
  const bool start = queue_.With([&](Queue& queue) {
    queue.stopped = true;
    queue.items.push_back({TimerFired{}, nullptr, clock_.Now()});
    return !std::exchange(queue.scheduled, true);
  });
  if (start) Schedule();
}

void FederationStrand::Drain() {
  while (HandleBatch()) {
  }
}

// False when the queue is empty, and then another thread may begin to drain.
bool FederationStrand::HandleBatch() {
  std::vector<Item> batch = TakeBatch(clock_.Now());
  if (batch.empty()) return false;
  std::vector<ServerEvent> events;
  std::uint64_t id = 0;
  for (Item& item : batch) {
    if (auto* arrived = std::get_if<RequestArrived>(&item.event)) arrived->id = id++;
    events.push_back(item.event);
  }
  ServerOutput output = core_->Handle(events, clock_.Now());
  if (output.failure) {
    logger_.Error({plan().name(), std::nullopt, {}}, "storage: " + output.failure->message);
  }
  wake_at_us_ = ToMicroseconds(output.wake_at);
  done_ = output.done;
  const bool changed = output.changed;
  const std::vector<ServerCommand> commands = output.commands;
  Deliver(std::move(batch), std::move(output));
  for (const ServerCommand& command : commands) Run(command);
  if (changed) {
    LogProgress();
    queue_.With([](Queue& queue) { queue.ask_again = true; });
  }
  return true;
}

std::vector<FederationStrand::Item> FederationStrand::TakeBatch(TimePoint now) {
  std::vector<Item> batch;
  bool all = false;
  bool stopping = false;
  queue_.With([&](Queue& queue) {
    all = std::exchange(queue.ask_again, false);
    stopping = queue.stopped;
    while (!queue.items.empty() && batch.size() < kBatchMax) {
      batch.push_back(std::move(queue.items.front()));
      queue.items.pop_front();
    }
    // With check-ins to be asked again the next turn is ours as well.
    if (batch.empty() && !(all && !held_.empty())) queue.scheduled = false;
  });
  if (stopping) {
    for (Held& held : std::exchange(held_, {})) held.item.responder->Send(std::move(held.response));
  }
  TakeHeld(now, all, batch);
  return batch;
}

// Held check-ins whose time is over are asked for the last time.
void FederationStrand::TakeHeld(TimePoint now, bool all, std::vector<Item>& batch) {
  if (batch.empty() && !all) return;
  std::vector<Held> kept;
  for (Held& held : held_) {
    const bool expired = held.item.since + kHoldMax <= now;
    if (!all && !expired) {
      kept.push_back(std::move(held));
      continue;
    }
    std::get<RequestArrived>(held.item.event).may_hold = !expired;
    batch.push_back(std::move(held.item));
  }
  held_ = std::move(kept);
}

void FederationStrand::Deliver(std::vector<Item> batch, ServerOutput output) {
  for (Item& item : batch) {
    const auto* arrived = std::get_if<RequestArrived>(&item.event);
    if (arrived == nullptr) continue;
    ServerReply& reply = output.replies[arrived->id];
    if (reply.may_wait) {
      held_.push_back({std::move(item), std::move(reply.response)});
    } else {
      item.responder->Send(std::move(reply.response));
    }
  }
  TimePoint oldest = kNever;
  for (const Held& held : held_) oldest = std::min(oldest, held.item.since);
  oldest_held_us_ = ToMicroseconds(oldest);
}

void FederationStrand::Run(const ServerCommand& command) {
  if (const auto* evaluate = std::get_if<Evaluate>(&command)) {
    pool_.Post([this, version = evaluate->version] { RunEvaluation(version); });
    return;
  }
  const std::uint64_t round = std::get<StartFold>(command).round;
  pool_.Post([this, round] {
    auto result =
        std::make_shared<const Result<RoundResult>>(RunFold(storage_, plan(), round, &pool_));
    if (!*result) {
      logger_.Error({plan().name(), round, {}}, "fold: " + result->error().message);
    }
    const bool failed = !*result;
    Push({FoldDone{round, std::move(result)}, nullptr, clock_.Now()});
    // The core gives the command again at its next batch.
    if (failed) wake_at_us_ = ToMicroseconds(clock_.Now() + kFoldPause);
  });
}

void FederationStrand::RunEvaluation(std::uint64_t version) {
  const Result<VersionModels> models = ReadVersionModels(storage_, plan(), version);
  if (!models || !measure_) return;
  const Result<Evaluated> evaluated = EvaluateVersion(*models, measure_);
  if (!evaluated) {
    logger_.Error({plan().name(), std::nullopt, {}}, "evaluation: " + evaluated.error().message);
    return;
  }
  Push({*evaluated, nullptr, clock_.Now()});
}

void FederationStrand::LogProgress() {
  const auto transaction = storage_.Begin(plan().name(), TransactionMode::kOptimistic);
  if (!transaction) return;
  const auto federation = (*transaction)->FindFederation(plan().name());
  if (!federation || !*federation) return;
  const auto round = (*transaction)->FindRound(plan().name(), (*federation)->round);
  if (round && *round && ((*round)->number != logged_round_ || (*round)->state != logged_state_)) {
    logged_round_ = (*round)->number;
    logged_state_ = (*round)->state;
    logger_.Info({plan().name(), logged_round_, {}},
                 std::string(RoundStateName(logged_state_)) + ": " +
                     std::to_string((*round)->accepted) + " accepted of " +
                     std::to_string((*round)->cohort) + " asked");
  }
  if ((*federation)->state != logged_federation_) {
    logged_federation_ = (*federation)->state;
    logger_.Info({plan().name(), std::nullopt, {}},
                 "now " + std::string(FederationStateName(logged_federation_)));
  }
}

}  // namespace fl::server
