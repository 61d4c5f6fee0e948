#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fl/common/random/rng_stream.h"
#include "fl/server/core/server_core.h"
#include "fl/simulations/net/event_queue.h"
#include "fl/tests/fault/history.h"

namespace fl::fault {

// What happens next is a function in virtual time.
using Queue = sim::EventQueue<std::function<void()>>;

// The shell of a server core whose storage fails and whose process dies at random operations of
// that storage: then no answer leaves, all connections are cut, and a new core goes on over the
// same rows a while later. Requests that arrive within a few milliseconds are one batch. Thread
// safety: one call at a time.
class FaultyServer {
 public:
  struct Faults {
    double dies = 0;   // Share of the batches and folds in whose middle the process dies,
    double fails = 0;  // or one operation of the storage fails and the next ones do not.
  };
  // kUnavailable: the server is away, or has died with the request in its hands.
  using Answer = std::function<void(Result<net::Response>)>;

  // All outlive the server.
  FaultyServer(std::shared_ptr<const server::FederationPlan> plan, Faults faults, RngStream rng,
               Queue& queue, History& history);

  void Receive(const std::string& device, net::Request request, Answer answer);
  // The process dies at the next batch that has an update to accept, if `updates` are accepted
  // then.
  void DieAfter(std::size_t updates) { die_after_ = updates; }

  server::Storage& storage() { return *storage_; }
  std::size_t deaths() const { return deaths_; }
  std::size_t failures() const { return failures_; }

 private:
  struct Pending {
    std::string device;
    net::Request request;
    Answer answer;
    TimePoint since;
    bool last = false;  // It was held for as long as it may be.
  };

  void Start();
  void Die();
  Result<> BeforeOperation();
  void Arm();
  // False: the process died in between.
  bool Disarm();
  void WakeTurn(Duration delay);
  void WakeHeld(const server::ServerOutput& output);
  void Turn();
  void Fold(std::uint64_t round);
  void Take(const server::ServerOutput& output);
  void Reply(Pending& pending, net::Response response);
  void Hold(Pending pending);

  std::shared_ptr<const server::FederationPlan> plan_;
  Faults faults_;
  RngStream rng_;
  Queue& queue_;
  History& history_;
  std::unique_ptr<server::Storage> storage_;  // Outlives the processes.
  std::unique_ptr<server::ServerCore> core_;  // Null: the server is away.
  std::uint64_t life_ = 0;
  std::deque<Pending> inbox_;
  std::map<std::uint64_t, Pending> held_;
  std::uint64_t holds_ = 0;
  bool turn_is_near_ = false;
  TimePoint wake_at_ = kNever;
  long operations_left_ = -1;  // Until the fault; below 0: none is near.
  bool fault_kills_ = false;
  bool dead_ = false;  // Every operation fails.
  std::size_t die_after_ = SIZE_MAX;
  std::size_t deaths_ = 0;
  std::size_t failures_ = 0;
};

}  // namespace fl::fault
