#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fl/client/core/client_core.h"

namespace fl::client::testing {

// A plan over samples of four features and three classes: 15 parameters in two tensors.
std::string PlanText(const std::string& recipe = "raw", const std::string& more = "");
std::shared_ptr<const CheckedPlan> MakePlan(const std::string& text);
// Samples that a linear model can tell apart.
std::shared_ptr<const data::Dataset> MakeSamples(std::size_t count, std::uint64_t seed = 1);
LocalData MakeData(const CheckedPlan& plan, std::size_t count = 30);

net::Response Answer(Bytes body, unsigned status = 200);
net::Response Refuse(ErrorCode code, unsigned status = 409, std::uint32_t again_ms = 0);

// A server's side of the protocol for one client, in memory: publishes `rounds` versions, each the
// one before plus the update's decoded delta. Keeps the rules that a client counts on: each
// request may be repeated.
class FakeServer {
 public:
  explicit FakeServer(std::string plan_text);

  net::Response Handle(const net::Request& request);
  // Publishes a round that others took part in: the model as it was.
  void PublishUnchanged() { versions_.push_back(versions_.back()); }

  // How a version travels: by seed (0), as a change where the client holds the one before, or
  // whole.
  bool offers_changes = true;
  std::uint64_t rounds = 3;
  std::vector<ErrorCode> refusals;  // For the next complete uploads, one each; kOk: accept.
  wire::TaskKind kind = wire::TaskKind::kTrain;
  std::function<std::optional<Digest>(std::uint64_t round)> parameters_of;  // Empty: none.

  std::vector<Bytes> accepted;  // Update bytes in the order of acceptance.
  std::vector<Bytes> refused;
  std::vector<std::string> log;                  // "POST /v1/check-in", ...
  std::map<std::uint64_t, std::size_t> patches;  // Per task.
  std::vector<wire::CheckInRequest> check_ins;
  const CheckedPlan& plan() const { return *plan_; }
  const NamedTensors& model() const { return versions_.back(); }
  Digest AddBlob(Bytes blob);
  // From now on other bytes come under that digest.
  void Spoil(const Digest& digest, Bytes other);
  std::optional<wire::CheckInAnswer> scripted;  // The next check-in's answer, once.
  wire::Task MakeTask(std::optional<std::uint64_t> held);
  wire::CheckInAnswer Idle() const;

 private:
  net::Response CheckIn(const net::Request& request);
  net::Response Blob(const net::Request& request);
  net::Response Upload(const net::Request& request);
  net::Response Complete(std::uint64_t task, const Bytes& update);

  std::string plan_text_;
  std::shared_ptr<const CheckedPlan> plan_;
  Digest plan_digest_;
  std::vector<NamedTensors> versions_;
  std::map<std::string, Bytes> blobs_;
  std::map<std::uint64_t, Bytes> partial_;
  std::map<std::uint64_t, Digest> settled_;
  std::uint64_t attempt_ = 0;
};

// Runs one device against a server in virtual time, and kills it when told to.
class Device {
 public:
  Device(FakeServer& server, ContentCache& cache, LocalData data, ClientOptions options = {});

  // Starts a core from what was saved last, and runs it until it is finished, killed, or has done
  // `commands_max` commands. False: killed or out of commands.
  bool Run(std::size_t commands_max = 2000);

  // Called before each command; true: the process dies before it.
  std::function<bool(const ClientCommand&)> kills;
  // What becomes of the exchange with that number, from 1.
  std::function<Result<net::Response>(std::size_t exchange, const net::Request&, FakeServer&)>
      carries;
  // What a deployment comes to.
  std::function<DeploymentResult(const DeploymentJob&)> deploys;

  Bytes saved;  // What a restart finds; empty: nothing.
  std::size_t trainings = 0;
  std::size_t exchanges = 0;
  std::size_t saves = 0;
  std::vector<Bytes> installed;
  std::vector<RecordActivity> activities;
  std::vector<Duration> waits;
  std::vector<Duration> timeouts;  // Of each request that was sent.
  std::vector<std::string> messages;
  std::optional<Result<>> outcome;
  DeviceState state;  // The core's when Run returned.
  TimePoint now;

 private:
  FakeServer& server_;
  ContentCache& cache_;
  LocalData data_;
  ClientOptions options_;
};

}  // namespace fl::client::testing
