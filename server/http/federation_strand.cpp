#include "fl/server/http/federation_strand.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <thread>
#include <utility>

#include "fl/server/core/admin.h"

namespace fl::server {
namespace {

constexpr std::size_t kBatchMax = 100;
constexpr std::size_t kQueueMax = 20000;
constexpr Duration kHoldMax = std::chrono::seconds(30);
constexpr Duration kFoldPause = std::chrono::seconds(1);
// A batch stored so lately says that the storage takes writes.
constexpr Duration kFreshlyStored = std::chrono::seconds(1);
constexpr auto kStoragePoll = std::chrono::milliseconds(2);

std::string Percent(double share) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f %%", 100 * share);
  return text.data();
}

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

std::size_t FederationStrand::queued() {
  return queue_.With([](const Queue& queue) { return queue.items.size(); });
}

// Any batch stores the federation's row, a timer's too.
Result<> FederationStrand::ConfirmStorage(Duration patience) {
  if (is_storing_ && stored_at_us_ >= ToMicroseconds(clock_.Now() - kFreshlyStored)) return Ok{};
  const std::uint64_t before = batches_;
  const TimePoint deadline = clock_.Now() + patience;
  Push({TimerFired{}, nullptr, clock_.Now()});
  while (batches_ == before) {
    if (clock_.Now() >= deadline) {
      return Error{ErrorCode::kTimeout, plan().name() + ": the storage takes longer than " +
                                            std::to_string(ToSeconds(patience)) + " s"};
    }
    std::this_thread::sleep_for(kStoragePoll);
  }
  if (is_storing_) return Ok{};
  return Error{ErrorCode::kIo,
               plan().name() + ": the storage takes nothing at this moment; the log says why"};
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
  const auto start = TimeHistogram::Clock::now();
  ServerOutput output = core_->Handle(events, clock_.Now());
  metrics_.step(TimedStep::kBatch).AddSince(start);
  if (output.failure) {
    metrics_.storage_failures.Add(1);
    logger_.Write(LogLevel::kError, {plan().name(), std::nullopt, {}},
                  "storage: " + output.failure->message, {"storage_failed", {}});
  } else {
    metrics_.Take(output.account);
    stored_at_us_ = ToMicroseconds(clock_.Now());
  }
  is_storing_ = !output.failure;
  ++batches_;
  wake_at_us_ = ToMicroseconds(output.wake_at);
  done_ = output.done;
  const bool changed = output.changed;
  const std::vector<ServerCommand> commands = output.commands;
  const BatchAccount account = std::move(output.account);
  Deliver(std::move(batch), std::move(output));
  for (const ServerCommand& command : commands) Run(command);
  Log(account);
  if (changed) {
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
    metrics_.held.Set(0);
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
    held.item.was_held = true;
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
      const Duration took = clock_.Now() - item.since;
      if (!item.was_held) metrics_.step(TimedStep::kAnswer).Add(took);
      item.responder->Send(std::move(reply.response));
    }
  }
  metrics_.held.Set(held_.size());
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
    const auto start = TimeHistogram::Clock::now();
    auto result =
        std::make_shared<const Result<RoundResult>>(RunFold(storage_, plan(), round, &pool_));
    metrics_.step(TimedStep::kFold).AddSince(start);
    if (!*result) {
      logger_.Write(LogLevel::kError, {plan().name(), round, {}},
                    "fold: " + result->error().message, {"fold_failed", {}});
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
  const auto start = TimeHistogram::Clock::now();
  const Result<Evaluated> evaluated = EvaluateVersion(*models, measure_);
  metrics_.step(TimedStep::kEvaluate).AddSince(start);
  const LogScope scope{plan().name(), std::nullopt, {}};
  if (!evaluated) {
    logger_.Write(LogLevel::kError, scope, "evaluation: " + evaluated.error().message,
                  {"evaluation_failed", {{"version", version}}});
    return;
  }
  logger_.Write(
      LogLevel::kInfo, scope,
      "version " + std::to_string(version) + " is right on " + Percent(evaluated->accuracy) +
          " of the evaluation data",
      {"evaluated",
       {{"version", version}, {"accuracy", evaluated->accuracy}, {"loss", evaluated->loss}}});
  Push({*evaluated, nullptr, clock_.Now()});
}

// One line for each state that the round and the federation have come to.
void FederationStrand::Log(const BatchAccount& account) {
  for (const RoundRow& round : account.rounds) {
    const std::string state(RoundStateName(round.state));
    LogEvent event{"round",
                   {{"state", state}, {"accepted", round.accepted}, {"cohort", round.cohort}}};
    if (round.state == RoundState::kPublished) {
      event.fields.push_back({"version", round.version});
      event.fields.push_back({"seconds", ToSeconds(round.published_at - round.opened_at)});
    }
    logger_.Write(LogLevel::kInfo, {plan().name(), round.number, {}},
                  state + ": " + std::to_string(round.accepted) + " accepted of " +
                      std::to_string(round.cohort) + " asked",
                  event);
  }
  for (const FederationState state : account.states) {
    const std::string name(FederationStateName(state));
    logger_.Write(LogLevel::kInfo, {plan().name(), std::nullopt, {}}, "now " + name,
                  {"federation", {{"state", name}}});
  }
}

}  // namespace fl::server
