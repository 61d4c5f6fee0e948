#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "fl/server/core/server_core.h"
#include "fl/server/storage/sqlite_storage.h"
#include "fl/tests/support/result.h"

namespace fl::server::testing {

using fl::testing::CodeOf;
using fl::testing::Get;

// A plan of one dense layer (2 x 3 weights and 3 biases), everything raw; `extra` is TOML appended
// to it.
inline std::string PlanText(const std::string& rounds, const std::string& extra = "",
                            const std::string& name = "small") {
  return "name = \"" + name + "\"\nseed = 7\n[model]\ninput = [2]\nlayers = [\"dense 3\"]\n" +
         "[rounds]\n" + rounds + "\n" + extra;
}

inline std::shared_ptr<const FederationPlan> MakePlan(const std::string& text) {
  return FederationPlan::Create(Get(CheckPlan(Get(ParsePlan(text, "plan")), "plan")));
}

inline net::Peer Device(const std::string& name) {
  return {"spiffe://fl/fleet/" + name, net::Role::kClient};
}
inline net::Peer Admin() {
  return {"spiffe://fl/admin/operator", net::Role::kAdmin};
}

// A server core with its storage, and a shell that does what the core commands, at once.
class Server {
 public:
  // `offences`: by default nobody is held off, so that a test can send one fault after the other.
  explicit Server(std::shared_ptr<const FederationPlan> plan, Storage* storage = nullptr,
                  const OffencePolicy& offences = {.hold_s = 0, .hold_max_s = 0, .deny_after = 0})
      : plan_(std::move(plan)) {
    if (storage == nullptr) owned_ = Get(OpenSqliteStorage(":memory:"));
    storage_ = storage != nullptr ? storage : owned_.get();
    ServerOptions options;
    options.offences = offences;
    core_ = Get(ServerCore::Create(*storage_, plan_, now_, options));
  }

  // Handles events and then whatever the core commands, until it commands nothing more.
  ServerOutput Handle(std::vector<ServerEvent> events) {
    ServerOutput first = core_->Handle(events, now_);
    wake_at_ = first.wake_at;
    std::vector<ServerCommand> commands = first.commands;
    while (obeys_ && !commands.empty()) {
      std::vector<ServerEvent> done;
      for (const ServerCommand& command : commands) {
        const auto* fold = std::get_if<StartFold>(&command);
        REQUIRE(fold != nullptr);
        done.emplace_back(FoldDone{fold->round, std::make_shared<const Result<RoundResult>>(
                                                    RunFold(*storage_, *plan_, fold->round))});
      }
      const ServerOutput next = core_->Handle(done, now_);
      wake_at_ = next.wake_at;
      commands = next.commands;
    }
    return first;
  }

  net::Response Send(const net::Peer& peer, net::Request request) {
    RequestArrived arrived;
    arrived.id = ++last_id_;
    arrived.peer = peer;
    arrived.request = std::move(request);
    const ServerOutput output = Handle({std::move(arrived)});
    REQUIRE(output.replies.size() == 1);
    CHECK(output.replies[0].id == last_id_);
    return output.replies[0].response;
  }

  void Pass(double seconds) {
    now_ += FromSeconds(seconds);
    Handle({TimerFired{}});
  }

  void set_obeys(bool obeys) { obeys_ = obeys; }
  TimePoint now() const { return now_; }
  TimePoint wake_at() const { return wake_at_; }
  Storage& storage() { return *storage_; }
  const FederationPlan& plan() const { return *plan_; }
  const std::shared_ptr<const FederationPlan>& shared_plan() const { return plan_; }
  ServerCore& core() { return *core_; }

  FederationRow federation() {
    const auto transaction = Get(storage_->Begin(plan_->name(), TransactionMode::kOptimistic));
    return Get(transaction->FindFederation(plan_->name())).value();
  }
  RoundRow round(std::uint64_t number) {
    const auto transaction = Get(storage_->Begin(plan_->name(), TransactionMode::kOptimistic));
    return Get(transaction->FindRound(plan_->name(), number)).value();
  }
  Digest model() {
    const auto transaction = Get(storage_->Begin(plan_->name(), TransactionMode::kOptimistic));
    const auto federation_row = Get(transaction->FindFederation(plan_->name())).value();
    return Get(transaction->FindModel(plan_->name(), federation_row.version)).value().digest;
  }
  std::vector<float> model_values() {
    const Digest digest = model();
    const auto transaction = Get(storage_->Begin(plan_->name(), TransactionMode::kOptimistic));
    const Bytes bytes = Get(transaction->ReadBlob(digest)).value();
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  std::uint64_t refusals(std::uint64_t round_number, ErrorCode code) {
    const auto transaction = Get(storage_->Begin(plan_->name(), TransactionMode::kOptimistic));
    const auto all = Get(transaction->RefusalsByRound(plan_->name()));
    const auto found = all.find({round_number, static_cast<std::uint16_t>(code)});
    return found == all.end() ? 0 : found->second;
  }

 private:
  std::shared_ptr<const FederationPlan> plan_;
  std::unique_ptr<Storage> owned_;
  Storage* storage_ = nullptr;
  std::unique_ptr<ServerCore> core_;
  TimePoint now_ = FromMicroseconds(1'000'000'000);
  TimePoint wake_at_ = kNever;
  std::uint64_t last_id_ = 0;
  bool obeys_ = true;
};

}  // namespace fl::server::testing
