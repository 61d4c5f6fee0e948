#include "fl/server/http/federation_strand.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iterator>
#include <thread>
#include <utility>

#include "fl/server/core/admin.h"
#include "fl/server/core/request.h"

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
                                   const Shared& shared, Measure measure, const Logger& logger)
    : core_(std::move(core)),
      storage_(storage),
      pool_(shared.pool),
      digests_(shared.digests),
      measure_(std::move(measure)),
      logger_(logger),
      gate_(shared.gate),
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
  Push({std::move(arrived), {std::move(responder), clock_.Now()}});
}

// Any batch stores the federation's row, a timer's too.
Result<> FederationStrand::ConfirmStorage(Duration patience) {
  if (is_storing_ && stored_at_us_ >= ToMicroseconds(clock_.Now() - kFreshlyStored)) return Ok{};
  const std::uint64_t before = batches_;
  const TimePoint deadline = clock_.Now() + patience;
  Push({TimerFired{}, {}});
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
    const bool request = item.origin.responder != nullptr;
    if (queue.stopped || (request && queue.items.size() >= kQueueMax)) return false;
    queue.items.push_back(std::move(item));
    waiting_ = queue.items.size();
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
  if (changed_elsewhere) queue_.With([](Queue& queue) { queue.wakes_all = true; });
  Push({TimerFired{}, {}});
}

void FederationStrand::Stop() {
  const bool start = queue_.With([&](Queue& queue) {
    queue.stopped = true;
    queue.items.push_back({TimerFired{}, {}});
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
  Batch batch;
  if (!TakeBatch(clock_.Now(), batch)) return false;
  if (batch.events.empty()) return true;  // None of those who are woken is held.
  std::uint64_t id = 0;
  for (ServerEvent& event : batch.events) {
    if (auto* arrived = std::get_if<RequestArrived>(&event)) arrived->id = id++;
  }
  ReadPieces(batch);
  const auto start = TimeHistogram::Clock::now();
  ServerOutput output = core_->Handle(batch.events, clock_.Now());
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
  Deliver(std::move(batch), std::move(output.replies));
  for (const ServerCommand& command : output.commands) Run(command);
  Log(output.account);
  if (output.wakes_all || !output.wakes.empty()) {
    queue_.With([&](Queue& queue) {
      queue.wakes_all |= output.wakes_all;
      std::ranges::move(output.wakes, std::back_inserter(queue.wakes));
    });
  }
  return true;
}

void FederationStrand::Batch::Add(Item item) {
  events.push_back(std::move(item.event));
  origins.push_back(std::move(item.origin));
}

// False when there is nothing to do, and then another thread may take the next batch.
bool FederationStrand::TakeBatch(TimePoint now, Batch& batch) {
  Queue woken;
  bool is_over = false;
  queue_.With([&](Queue& queue) {
    woken.wakes_all = std::exchange(queue.wakes_all, false);
    woken.wakes = std::exchange(queue.wakes, {});
    woken.stopped = queue.stopped;
    while (!queue.items.empty() && batch.events.size() < kBatchMax) {
      batch.Add(std::move(queue.items.front()));
      queue.items.pop_front();
    }
    waiting_ = queue.items.size();
    // With check-ins to be asked again the next turn is ours as well.
    is_over = batch.events.empty() && !woken.wakes_all && woken.wakes.empty();
    if (is_over) queue.scheduled = false;
  });
  if (is_over) return false;
  if (woken.stopped) {
    held_of_.clear();
    for (auto& [key, held] : std::exchange(held_, {})) {
      held.origin.responder->Send(std::move(held.response));
    }
    metrics_.held.Set(0);
  }
  TakeHeld(now, woken, batch);
  return true;
}

// Held check-ins whose time is over are asked for the last time.
void FederationStrand::TakeHeld(TimePoint now, const Queue& woken, Batch& batch) {
  const auto expired = [&] {
    return !held_.empty() && held_.begin()->first.first + kHoldMax <= now;
  };
  while (expired()) AskAgain(held_.begin()->first, false, batch);
  while (woken.wakes_all && !held_.empty()) AskAgain(held_.begin()->first, true, batch);
  for (const std::string& client : woken.wakes) {
    for (auto found = held_of_.find(client); found != held_of_.end();
         found = held_of_.find(client)) {
      AskAgain(found->second, true, batch);
    }
  }
}

void FederationStrand::AskAgain(HeldKey key, bool may_hold, Batch& batch) {
  auto held = held_.extract(key);
  Held& asked = held.mapped();
  const auto [first, last] = held_of_.equal_range(ClientName(asked.event.peer));
  held_of_.erase(std::find_if(first, last, [&](const auto& one) { return one.second == key; }));
  asked.event.may_hold = may_hold;
  asked.event.asked_again = true;
  batch.Add({std::move(asked.event), std::move(asked.origin)});
}

void FederationStrand::Hold(RequestArrived event, Origin origin, net::Response response) {
  const HeldKey key{origin.since, ++held_last_};
  held_of_.emplace(ClientName(event.peer), key);
  held_.emplace(key, Held{std::move(event), std::move(origin), std::move(response)});
}

// Large pieces are read by another thread while the core stores them. From here to KeepPiece their
// requests stay where they are.
void FederationStrand::ReadPieces(Batch& batch) {
  constexpr std::size_t kBytesMin = 64U << 10;  // Below it a commit reads them as fast.
  for (std::size_t i = 0; i < batch.events.size(); ++i) {
    const auto* arrived = std::get_if<RequestArrived>(&batch.events[i]);
    if (arrived == nullptr || arrived->request.body.size() < kBytesMin) continue;
    const Result<DecodedRequest> request = DecodeRequest(arrived->peer, arrived->request);
    const auto* chunk = request ? std::get_if<UploadChunk>(&*request) : nullptr;
    if (chunk == nullptr) continue;
    auto piece =
        std::make_shared<UploadPiece>(chunk->task.value, chunk->offset, arrived->request.body);
    batch.origins[i].piece = piece;
    pool_.Post([this, piece = std::move(piece)] { digests_.Read(*piece); });
  }
}

void FederationStrand::KeepPiece(RequestArrived& arrived, Origin& origin,
                                 const ServerReply& reply) {
  if (origin.piece == nullptr) return;
  origin.piece->body = std::move(arrived.request.body);
  if (!reply.stored_piece_of) return;
  pool_.Post([this, piece = std::move(origin.piece), attempt = *reply.stored_piece_of] {
    digests_.Keep(*piece, attempt);
  });
}

void FederationStrand::Deliver(Batch batch, std::vector<ServerReply> replies) {
  for (std::size_t i = 0; i < batch.events.size(); ++i) {
    auto* arrived = std::get_if<RequestArrived>(&batch.events[i]);
    if (arrived == nullptr) continue;
    ServerReply& reply = replies[arrived->id];
    KeepPiece(*arrived, batch.origins[i], reply);
    if (reply.may_wait) {
      Hold(std::move(*arrived), std::move(batch.origins[i]), std::move(reply.response));
    } else {
      Origin& origin = batch.origins[i];
      if (!arrived->asked_again) {
        metrics_.step(TimedStep::kAnswer).Add(clock_.Now() - origin.since);
      }
      NoteRefusal(arrived->peer, reply.response);
      origin.responder->Send(std::move(reply.response));
    }
  }
  metrics_.held.Set(held_.size());
  oldest_held_us_ = ToMicroseconds(held_.empty() ? kNever : held_.begin()->first.first);
}

void FederationStrand::NoteRefusal(const net::Peer& peer, const net::Response& response) {
  const bool of_client = !net::FindHeader(response.headers, wire::kDetailHeader).empty();
  gate_.NoteAnswer(peer, response, of_client ? PutOffReason::kHeldOff : PutOffReason::kNotNow,
                   clock_.Now());
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
    Push({FoldDone{round, std::move(result)}, {}});
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
  Push({*evaluated, {}});
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
