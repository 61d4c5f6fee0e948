#include "fl/simulations/federation/server_actor.h"

#include <algorithm>
#include <string>
#include <utility>

#include "fl/common/data/subset.h"
#include "fl/compression/samples/evaluate_model.h"
#include "fl/server/core/admit.h"
#include "fl/server/core/request.h"
#include "fl/server/core/run_fold.h"
#include "fl/server/core/version_models.h"
#include "fl/server/storage/sqlite_storage.h"
#include "fl/simulations/population/population.h"

namespace fl::sim {
namespace {

constexpr Duration kResolution(1);
constexpr Duration kHold =
    std::chrono::seconds(30);  // The longest that a check-in waits for its answer.

// fl-server's certificates give clients this name.
net::Peer PeerOf(std::uint32_t device) {
  return {"spiffe://fl/fleet/" + DeviceName(device), net::Role::kClient};
}

bool IsCheckIn(const net::Request& request) {
  return request.target == "/v1/check-in";
}

Result<server::Quality> Measure(const server::FederationPlan& plan, std::span<const float> model,
                                std::shared_ptr<const data::Dataset> dataset, ThreadPool& pool) {
  FL_TRY(const nn::Evaluation evaluation,
         EvaluateModel(plan.graph(), model, data::Subset(std::move(dataset)), &pool));
  return server::Quality{evaluation.loss, evaluation.accuracy};
}

}  // namespace

Result<std::unique_ptr<ServerActor>> ServerActor::Create(
    std::shared_ptr<const CheckedPlan> plan, std::shared_ptr<const data::Dataset> evaluation,
    Services services) {
  std::unique_ptr<ServerActor> actor(new ServerActor(services));
  actor->plan_ = server::FederationPlan::Create(std::move(plan));
  actor->evaluation_ = std::move(evaluation);
  FL_TRY(actor->storage_, server::OpenSqliteStorage(":memory:"));
  FL_TRY(actor->core_,
         server::ServerCore::Create(*actor->storage_, actor->plan_, services.queue.now(),
                                    {.evaluates = actor->evaluation_ != nullptr}));
  services.queue.Push(services.queue.now(), Queue::kServer, ServerTimer{});
  return actor;
}

Result<ServerActor::Outcome> ServerActor::Handle(std::vector<Event> events) {
  Outcome outcome;
  Batch batch;
  for (Event& event : events) {
    FL_TRY_OK(std::visit(
        [&](auto& known) -> Result<> {
          if constexpr (requires { Take(std::move(known), batch, outcome); }) {
            return Take(std::move(known), batch, outcome);
          }
          return Error{ErrorCode::kInternal, "an event of a device reached the server"};
        },
        event));
  }
  CheckUploads(batch);
  while (!batch.empty()) {
    server::ServerOutput output = core_->Handle(batch, services_.queue.now());
    const bool all = output.wakes_all;
    const std::vector<std::string> wakes = std::move(output.wakes);
    Settle(std::move(output), outcome);
    batch = AskAgain(all, wakes);
  }
  return outcome;
}

Result<> ServerActor::Take(RequestReceived event, Batch& batch, Outcome&) {
  Exchange& exchange = exchanges_[event.id];
  exchange.device = event.device;
  if (IsCheckIn(event.request)) exchange.check_in = event.request;
  batch.emplace_back(server::RequestArrived{.id = event.id,
                                            .peer = PeerOf(event.device),
                                            .request = std::move(event.request),
                                            .checked = nullptr,
                                            .may_hold = exchange.check_in.has_value()});
  return {};
}

Result<> ServerActor::Take(HoldEnded event, Batch& batch, Outcome&) {
  const auto found = exchanges_.find(event.id);
  if (found == exchanges_.end()) return {};
  Hold(event.id, found->second, false);
  batch.emplace_back(server::RequestArrived{.id = event.id,
                                            .peer = PeerOf(found->second.device),
                                            .request = *found->second.check_in,
                                            .checked = nullptr,
                                            .may_hold = false});
  return {};
}

Result<> ServerActor::Take(ServerTimer, Batch& batch, Outcome&) {
  // A timer that was set for an earlier plan of the core means nothing any more.
  if (wake_at_ != kNever && services_.queue.now() < wake_at_) return {};
  wake_at_ = kNever;
  batch.emplace_back(server::TimerFired{});
  return {};
}

Result<> ServerActor::Take(FoldWanted event, Batch& batch, Outcome& outcome) {
  FL_TRY(server::RoundResult result,
         server::RunFold(*storage_, *plan_, event.round, &services_.pool));
  batch.emplace_back(server::FoldDone{
      event.round, std::make_shared<const Result<server::RoundResult>>(std::move(result))});
  outcome.published = event.round;
  return {};
}

Result<> ServerActor::Take(EvaluationFinished event, Batch& batch, Outcome& outcome) {
  FL_TRY(const server::Evaluated evaluated, services_.pool.Await(event.result));
  batch.emplace_back(evaluated);
  outcome.evaluated = evaluated;
  return {};
}

// Decoding and validating updates is pure, so it runs in parallel.
void ServerActor::CheckUploads(Batch& batch) {
  std::vector<server::RequestArrived*> uploads;
  for (server::ServerEvent& event : batch) {
    auto* arrived = std::get_if<server::RequestArrived>(&event);
    if (arrived != nullptr && !IsCheckIn(arrived->request)) uploads.push_back(arrived);
  }
  if (uploads.empty()) return;
  services_.pool.ParallelFor(uploads.size(), [&](std::size_t i) {
    server::RequestArrived& upload = *uploads[i];
    const auto decoded = server::DecodeRequest(upload.peer, upload.request);
    if (!decoded) return;
    upload.checked = server::CheckRequest(
        *storage_, *plan_, {upload.peer, upload.request, *decoded}, services_.queue.now());
  });
}

void ServerActor::Settle(server::ServerOutput output, Outcome& outcome) {
  for (server::ServerReply& reply : output.replies) {
    const auto found = exchanges_.find(reply.id);
    FL_CHECK(found != exchanges_.end(), "a reply to a request that was never made");
    Exchange& exchange = found->second;
    if (reply.may_wait) {
      if (!exchange.held)
        services_.queue.Push(services_.queue.now() + kHold, Queue::kServer, HoldEnded{reply.id});
      Hold(reply.id, exchange, true);
      continue;
    }
    Hold(reply.id, exchange, false);
    outcome.replies.push_back({reply.id, exchange.device, std::move(reply.response)});
    exchanges_.erase(found);
  }
  for (const server::ServerCommand& command : output.commands) {
    std::visit([this](const auto& known) { Start(known); }, command);
  }
  WakeAt(output.wake_at);
  bytes_up_ += output.account.traffic.bytes_up;
  done_ = done_ || output.done;
}

void ServerActor::Start(const server::StartFold& command) {
  services_.queue.Push(services_.queue.now(), Queue::kServer, FoldWanted{command.round});
}

// The version's values are read at once, before the core may drop them.
void ServerActor::Start(const server::Evaluate& command) {
  auto promise = std::make_shared<std::promise<Result<server::Evaluated>>>();
  EvaluationFinished finished{command.version, promise->get_future()};
  Result<server::VersionModels> models =
      server::ReadVersionModels(*storage_, *plan_, command.version);
  if (!models) {
    promise->set_value(std::move(models).error());
  } else {
    services_.pool.Post(
        [promise, plan = plan_, dataset = evaluation_, &pool = services_.pool,
         read = std::make_shared<const server::VersionModels>(std::move(models).value())] {
          promise->set_value(server::EvaluateVersion(*read, [&](std::span<const float> model) {
            return Measure(*plan, model, dataset, pool);
          }));
        });
  }
  services_.queue.Push(services_.queue.now() + kResolution, Queue::kServer, std::move(finished));
}

void ServerActor::Hold(std::uint64_t id, Exchange& exchange, bool held) {
  if (std::exchange(exchange.held, held) == held) return;
  if (held) {
    held_.emplace(DeviceName(exchange.device), id);
  } else {
    held_.erase({DeviceName(exchange.device), id});
  }
}

ServerActor::Batch ServerActor::AskAgain(bool all, const std::vector<std::string>& clients) const {
  std::set<std::uint64_t> woken;
  for (const std::string& client : clients) {
    for (auto held = held_.lower_bound({client, 0}); held != held_.end() && held->first == client;
         ++held)
      woken.insert(held->second);
  }
  if (all) {
    for (const auto& [client, id] : held_) woken.insert(id);
  }
  Batch batch;
  for (const std::uint64_t id : woken) {
    const Exchange& exchange = exchanges_.at(id);
    batch.emplace_back(server::RequestArrived{.id = id,
                                              .peer = PeerOf(exchange.device),
                                              .request = *exchange.check_in,
                                              .checked = nullptr,
                                              .may_hold = true,
                                              .asked_again = true});
  }
  return batch;
}

void ServerActor::WakeAt(TimePoint time) {
  if (time == wake_at_) return;
  wake_at_ = time;
  if (time == kNever) return;
  wake_at_ = std::max(time, services_.queue.now() + kResolution);
  services_.queue.Push(wake_at_, Queue::kServer, ServerTimer{});
}

}  // namespace fl::sim
