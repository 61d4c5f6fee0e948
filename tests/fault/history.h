#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fl/client/state/device_state.h"
#include "fl/server/core/federation_plan.h"
#include "fl/server/storage/storage.h"

namespace fl::fault {

// What was seen of one federation from outside: by its devices, on the wire, and in the rows
// between two batches. Each call checks what can be judged at once, Finish what only the end tells:
//
// - A device trains no more for a task whose update is staged, and sends no byte again of which it
//   was told that it is committed.
// - What is committed of an upload never becomes less. An update is acknowledged for one round.
// - Rounds, versions and a round's states never go back. A version keeps its digest, which is that
//   of its values.
// - A published model is the one before plus the mean of just the updates that were acknowledged
//   for its round, computed here anew from the devices' bytes; no acknowledged update is left over.
//
// The plan averages by examples, in plain fp32. Thread safety: distinct objects safe.
class History {
 public:
  explicit History(const server::FederationPlan& plan) : plan_(plan) {}

  void Trained(std::uint64_t task);
  void Staged(const client::StagedUpdate& update);
  // A piece leaves the device; it was told before that `told` bytes are committed.
  void Sent(std::uint64_t task, std::uint64_t offset, std::uint64_t told);
  // The server answers an upload, whether or not anybody hears it.
  void Committed(std::uint64_t task, std::uint64_t bytes);
  void Accepted(std::uint64_t task, std::uint64_t round);
  // The rows between two batches, also of a server that has just come back.
  void Look(server::Storage& storage);
  // After the last batch.
  void Finish(server::Storage& storage);

  // In the order in which they were found.
  const std::vector<std::string>& faults() const { return faults_; }
  std::size_t accepted() const { return accepted_.size(); }
  std::size_t published() const { return models_.empty() ? 0 : models_.size() - 1; }
  std::size_t trainings() const { return trainings_; }
  // Of a version that was seen.
  const Digest& model(std::uint64_t version) const { return models_.at(version).digest; }
  std::uint64_t newest() const { return models_.rbegin()->first; }

 private:
  struct Model {
    Digest digest;
    std::vector<float> values;
  };

  void Fault(std::string what) { faults_.push_back(std::move(what)); }
  void LookAtRound(const server::RoundRow& round);
  Result<> LookAtModels(server::Transaction& transaction, std::uint64_t version);
  Result<> ReadRows(server::Storage& storage);
  std::optional<std::vector<float>> Expected(const server::RoundRow& round);
  void AddUpdate(const Bytes& update, std::vector<double>& sum, double& weight);
  void CheckAggregates(const std::vector<server::RoundRow>& rounds);

  const server::FederationPlan& plan_;  // Outlives the history.
  std::vector<std::string> faults_;
  std::map<std::uint64_t, client::StagedUpdate> staged_;  // By task, like the next ones.
  std::map<std::uint64_t, std::uint64_t> committed_;
  std::map<std::uint64_t, std::uint64_t> accepted_;  // The round.
  std::map<std::uint64_t, server::RoundState> rounds_;
  std::map<std::uint64_t, Model> models_;
  std::uint64_t round_ = 0;
  std::uint64_t published_ = 0;
  std::uint64_t version_ = 0;
  std::size_t trainings_ = 0;
};

}  // namespace fl::fault
