#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/server/storage/rows.h"
#include "fl/server/storage/stored_body.h"

namespace fl::server {

// How a transaction treats other writers.
enum class TransactionMode : std::uint8_t {
  kOptimistic,  // Reads a snapshot; kConflict at the first write, or at Commit, when another writer
                // was first.
  kExclusive,   // Waits for its turn at the start, and then has no conflict.
};

// One unit of work on one federation's rows: all of it is stored at Commit, or nothing. Put
// replaces the row of the same key. After any error the transaction can only be dropped. Errors:
// kConflict (begin again), kIo (the store failed), kInternal. Thread safety: one thread at a time.
class Transaction {
 public:
  virtual ~Transaction() = default;  // Without Commit: nothing happened.

  virtual Result<std::optional<FederationRow>> FindFederation(const std::string& name) = 0;
  virtual Result<std::vector<FederationRow>> Federations() = 0;
  virtual Result<> Put(const FederationRow& row) = 0;

  virtual Result<std::optional<RoundRow>> FindRound(const std::string& federation,
                                                    std::uint64_t number) = 0;
  virtual Result<std::vector<RoundRow>> Rounds(const std::string& federation) = 0;
  virtual Result<> Put(const RoundRow& row) = 0;

  virtual Result<std::optional<ClientRow>> FindClient(const std::string& federation,
                                                      const std::string& name) = 0;
  // Sorted by name.
  virtual Result<std::vector<ClientRow>> Clients(const std::string& federation) = 0;
  // The names of those last seen then or later, sorted.
  virtual Result<std::vector<std::string>> ClientsSeen(const std::string& federation,
                                                       TimePoint since) = 0;
  virtual Result<> Put(const ClientRow& row) = 0;

  virtual Result<std::optional<TaskRow>> FindTask(std::uint64_t id) = 0;
  virtual Result<std::optional<TaskRow>> FindTaskOf(const std::string& federation,
                                                    wire::TaskKind kind, std::uint64_t round,
                                                    const std::string& client) = 0;
  // The train tasks issued in a round, by slot.
  virtual Result<std::vector<TaskRow>> Cohort(const std::string& federation,
                                              std::uint64_t round) = 0;
  // The accepted updates that count in a round, by position.
  virtual Result<std::vector<TaskRow>> Counted(const std::string& federation,
                                               std::uint64_t round) = 0;
  virtual Result<> Put(const TaskRow& row) = 0;

  // The next piece of the body of a task's update, at its `committed`; of `size` bytes in all.
  virtual Result<> PutChunk(const TaskRow& task, std::uint64_t size, ByteSpan bytes) = 0;
  // All pieces, in order; empty where there are none. It stays what it is whatever happens to the
  // task, also when the transaction is over.
  virtual Result<StoredBody> ReadBody(std::uint64_t task) = 0;
  virtual Result<> DropBody(std::uint64_t task) = 0;

  virtual Result<bool> HasPhase(std::uint64_t task, std::uint64_t phase) = 0;
  virtual Result<std::uint64_t> CountPhases(const std::string& federation, std::uint64_t round,
                                            std::uint64_t phase) = 0;
  virtual Result<> Put(const PhaseRow& row) = 0;

  // Content-addressed; putting the same blob twice is no error.
  virtual Result<> PutBlob(const std::string& federation, const Digest& digest, ByteSpan bytes) = 0;
  virtual Result<std::optional<Bytes>> ReadBlob(const Digest& digest) = 0;
  virtual Result<std::optional<std::string>> FederationOfBlob(const Digest& digest) = 0;
  virtual Result<> DropBlob(const Digest& digest) = 0;

  virtual Result<std::optional<ModelRow>> FindModel(const std::string& federation,
                                                    std::uint64_t version) = 0;
  // By version, from that one on.
  virtual Result<std::vector<ModelRow>> Models(const std::string& federation,
                                               std::uint64_t version_min = 0) = 0;
  virtual Result<> Put(const ModelRow& row) = 0;

  virtual Result<std::optional<ChangeRow>> FindChange(const std::string& federation,
                                                      std::uint64_t from, std::uint64_t to,
                                                      Edition edition) = 0;
  virtual Result<std::vector<ChangeRow>> Changes(const std::string& federation) = 0;
  virtual Result<> Put(const ChangeRow& row) = 0;
  virtual Result<> DropChange(const ChangeRow& row) = 0;

  // Durable named tensors (a strategy's state, a publisher's residual), each as fp32 bytes but for
  // the tallies (AutoTally, CalibrationTally).
  virtual Result<std::map<std::string, Bytes>> Tensors(const std::string& federation) = 0;
  virtual Result<std::optional<Bytes>> FindTensor(const std::string& federation,
                                                  const std::string& name) = 0;
  virtual Result<> PutTensor(const std::string& federation, const std::string& name,
                             ByteSpan bytes) = 0;

  virtual Result<std::map<std::uint64_t, Traffic>> TrafficByRound(
      const std::string& federation) = 0;
  virtual Result<> AddTraffic(const std::string& federation, std::uint64_t round,
                              const Traffic& traffic) = 0;

  // (round, error code) -> how many requests were refused.
  using Refusals = std::map<std::pair<std::uint64_t, std::uint16_t>, std::uint64_t>;
  virtual Result<Refusals> RefusalsByRound(const std::string& federation) = 0;
  virtual Result<> AddRefusal(const std::string& federation, std::uint64_t round,
                              ErrorCode code) = 0;

  // The newest refusals, oldest first; Add drops what exceeds kRefusedMax.
  static constexpr std::uint64_t kRefusedMax = 256;
  virtual Result<std::vector<RefusedRow>> LastRefused(const std::string& federation) = 0;
  virtual Result<> Add(const RefusedRow& row) = 0;

  virtual Result<std::optional<OffenderRow>> FindOffender(const std::string& federation,
                                                          const std::string& client) = 0;
  // Sorted by name.
  virtual Result<std::vector<OffenderRow>> Offenders(const std::string& federation) = 0;
  virtual Result<> Put(const OffenderRow& row) = 0;
  virtual Result<> DropOffender(const std::string& federation, const std::string& client) = 0;

  virtual Result<std::vector<EventRow>> Events(const std::string& federation) = 0;
  virtual Result<> Add(const EventRow& row) = 0;

  virtual Result<std::vector<DeploymentRow>> Deployments(const std::string& federation) = 0;
  virtual Result<> Put(const DeploymentRow& row) = 0;

  // Stores everything and moves the federation's fencing number on; durable when it returns.
  // kConflict: nothing was stored.
  virtual Result<> Commit() = 0;
};

// Where all state lives. A backend passes tests/server/storage/storage_suite.h.
// Thread safety: shared objects safe; a transaction belongs to one thread.
class Storage {
 public:
  virtual ~Storage() = default;

  virtual Result<std::unique_ptr<Transaction>> Begin(const std::string& federation,
                                                     TransactionMode mode) = 0;

  // Calls `changed` after each commit to the federation, by this or another object or process
  // (those are seen at the next PollChanges). It is called on the committing thread, must not block
  // and must not begin a transaction. One watcher each federation: a second call replaces the
  // first, an empty function ends it.
  virtual void Watch(const std::string& federation, std::function<void()> changed) = 0;
  // Looks for commits by others and tells the watchers. Shells call it about once a second.
  virtual Result<> PollChanges() = 0;
};

}  // namespace fl::server
