#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fl/common/base/guarded.h"
#include "fl/common/base/log.h"
#include "fl/common/base/thread_pool.h"
#include "fl/common/net/http.h"
#include "fl/server/core/server_core.h"
#include "fl/server/core/upload_digests.h"
#include "fl/server/core/version_models.h"
#include "fl/server/http/client_gate.h"
#include "fl/server/operate/federation_metrics.h"

namespace fl::server {

// What waits in front of one core: events in, one batch at a time, replies out. At most one thread
// of the pool handles a batch at any moment; what arrives meanwhile is the next batch, so that many
// updates share one transaction. Thread safety: shared objects safe. `storage` and what is shared
// must outlive it, and the pool must be empty before it ends.
class FederationStrand {
 public:
  // What the strands of a shell have in common; the gate hears of each answer.
  struct Shared {
    ThreadPool& pool;
    UploadDigests& digests;
    ClientGate& gate;
  };
  // `measure` runs on the pool; empty where the server has no data to measure on.
  FederationStrand(std::unique_ptr<ServerCore> core, Storage& storage, const Shared& shared,
                   Measure measure, const Logger& logger);

  // A request that was routed here. `checked` may be null.
  void Post(net::Peer peer, net::Request request,
            std::shared_ptr<const Result<CheckedUpdate>> checked,
            std::unique_ptr<net::Responder> responder);
  // Called about every 100 ms: sends timers that are due, asks held check-ins again whose time is
  // over, or all of them when another process has moved the round on.
  void Tick(TimePoint now, bool changed_elsewhere);
  // Answers what is held and takes nothing more.
  void Stop();

  // ServerShell::ConfirmStorage for this federation.
  Result<> ConfirmStorage(Duration patience);

  const FederationPlan& plan() const { return core_->plan(); }
  bool done() const { return done_; }
  FederationMetrics& metrics() { return metrics_; }
  // Events that no batch has taken yet.
  std::size_t waiting() const { return waiting_; }

 private:
  // A request's responder, since when it waits, and the piece of an upload that it may be.
  struct Origin {
    std::unique_ptr<net::Responder> responder;
    TimePoint since{};
    std::shared_ptr<UploadPiece> piece = nullptr;
  };
  // Something for the core; a request brings its responder.
  struct Item {
    ServerEvent event;
    Origin origin;
  };
  // Events and where they came from, by the same index.
  struct Batch {
    std::vector<ServerEvent> events;
    std::vector<Origin> origins;
    void Add(Item item);
  };
  struct Held {
    RequestArrived event;
    Origin origin;
    net::Response response;
  };
  // When it came, and a number of its own.
  using HeldKey = std::pair<TimePoint, std::uint64_t>;
  struct Queue {
    std::deque<Item> items;
    bool scheduled = false;
    // Whose held check-ins are to be asked again.
    bool wakes_all = false;
    std::vector<std::string> wakes;
    bool stopped = false;
  };

  void Push(Item item);
  void Schedule();
  void Drain();
  bool HandleBatch();
  bool TakeBatch(TimePoint now, Batch& batch);
  void TakeHeld(TimePoint now, const Queue& woken, Batch& batch);
  void AskAgain(HeldKey key, bool may_hold, Batch& batch);
  void Hold(RequestArrived event, Origin origin, net::Response response);
  void ReadPieces(Batch& batch);
  void KeepPiece(RequestArrived& arrived, Origin& origin, const ServerReply& reply);
  void Deliver(Batch batch, std::vector<ServerReply> replies);
  void NoteRefusal(const net::Peer& peer, const net::Response& response);
  void Run(const ServerCommand& command);
  void RunEvaluation(std::uint64_t version);
  void Log(const BatchAccount& account);

  std::unique_ptr<ServerCore> core_;
  Storage& storage_;
  ThreadPool& pool_;
  UploadDigests& digests_;
  Measure measure_;
  const Logger& logger_;
  ClientGate& gate_;
  SystemClock clock_;
  Guarded<Queue> queue_;
  // Only the thread that drains touches these.
  std::map<HeldKey, Held> held_;
  std::unordered_multimap<std::string, HeldKey> held_of_;  // By the client's name.
  std::uint64_t held_last_ = 0;

  FederationMetrics metrics_;
  std::atomic<std::uint64_t> batches_ = 0;      // That were handled.
  std::atomic<std::int64_t> stored_at_us_ = 0;  // When the last batch that was stored ended.
  std::atomic<bool> is_storing_ = false;        // The last batch was stored.
  std::atomic<std::int64_t> wake_at_us_;
  std::atomic<std::int64_t> oldest_held_us_;
  std::atomic<bool> done_ = false;
  std::atomic<std::size_t> waiting_ = 0;
};

}  // namespace fl::server
