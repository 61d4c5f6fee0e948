#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fl/common/base/thread_pool.h"
#include "fl/common/data/dataset.h"
#include "fl/server/core/server_core.h"
#include "fl/server/storage/storage.h"
#include "fl/simulations/federation/event.h"

namespace fl::sim {

// The shell of the server core in a simulation: storage in memory, requests from the event queue,
// folds on the workers' pool, evaluations on a worker. Thread safety: one call at a time.
class ServerActor {
 public:
  struct Services {
    Queue& queue;  // All outlive the actor.
    ThreadPool& pool;
    const std::atomic<bool>& stop;
  };
  struct Reply {
    std::uint64_t id = 0;
    std::uint32_t device = 0;
    net::Response response;
  };
  // What a batch of events led to.
  struct Outcome {
    std::vector<Reply> replies;
    std::optional<std::uint64_t> published;  // The round that was published.
    std::optional<server::Evaluated> evaluated;
  };

  // `evaluation` may be null. Errors are the storage's and ServerCore::Create's.
  static Result<std::unique_ptr<ServerActor>> Create(
      std::shared_ptr<const CheckedPlan> plan, std::shared_ptr<const data::Dataset> evaluation,
      Services services);

  // Handles what reaches the server at one instant. Errors: a fold or an evaluation that failed.
  Result<Outcome> Handle(std::vector<Event> events);

  bool done() const { return done_; }
  // Of all requests so far, heads and bodies.
  std::uint64_t bytes_up() const { return bytes_up_; }
  server::Storage& storage() { return *storage_; }
  const server::FederationPlan& plan() const { return *plan_; }

 private:
  // A request that has no answer yet.
  struct Exchange {
    std::uint32_t device = 0;
    std::optional<net::Request> check_in;  // Kept to ask again; empty for other requests.
    bool held = false;
  };
  using HeldCheckIn = std::pair<std::string, std::uint64_t>;  // Whose, and the exchange's id.

  explicit ServerActor(Services services) : services_(services) {}

  using Batch = std::vector<server::ServerEvent>;

  Result<> Take(RequestReceived event, Batch& batch, Outcome& outcome);
  Result<> Take(HoldEnded event, Batch& batch, Outcome& outcome);
  Result<> Take(ServerTimer event, Batch& batch, Outcome& outcome);
  Result<> Take(FoldWanted event, Batch& batch, Outcome& outcome);
  Result<> Take(EvaluationFinished event, Batch& batch, Outcome& outcome);
  void CheckUploads(Batch& batch);
  void Settle(server::ServerOutput output, Outcome& outcome);
  void Start(const server::StartFold& command);
  void Start(const server::Evaluate& command);
  void Hold(std::uint64_t id, Exchange& exchange, bool held);
  // The held check-ins that the output wakes, in the order of their ids.
  Batch AskAgain(bool all, const std::vector<std::string>& clients) const;
  void WakeAt(TimePoint time);

  Services services_;
  std::unique_ptr<server::Storage> storage_;
  std::shared_ptr<const server::FederationPlan> plan_;  // Shared with evaluations on workers.
  std::shared_ptr<const data::Dataset> evaluation_;     // The same.
  std::unique_ptr<server::ServerCore> core_;
  std::map<std::uint64_t, Exchange> exchanges_;  // By id.
  std::set<HeldCheckIn> held_;                   // Those of the exchanges that are held.
  TimePoint wake_at_ = kNever;
  std::uint64_t bytes_up_ = 0;
  bool done_ = false;
};

}  // namespace fl::sim
