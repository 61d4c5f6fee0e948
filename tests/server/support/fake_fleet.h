#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/crypto/sha256.h"
#include "fl/common/wire/update.h"
#include "fl/server/core/round_policy.h"
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

inline std::string TaskTarget(std::uint64_t task) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string target = "/v1/updates/";
  for (int shift = 60; shift >= 0; shift -= 4) target.push_back(kDigits[(task >> shift) & 15U]);
  return target;
}

// A server core with its storage, and a shell that does what the core commands, at once.
class Server {
 public:
  explicit Server(std::shared_ptr<const FederationPlan> plan, Storage* storage = nullptr)
      : plan_(std::move(plan)) {
    if (storage == nullptr) owned_ = Get(OpenSqliteStorage(":memory:"));
    storage_ = storage != nullptr ? storage : owned_.get();
    core_ = Get(ServerCore::Create(*storage_, plan_, now_));
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

inline net::Request CheckInOf(bool wait = false,
                              std::optional<std::uint64_t> version_held = std::nullopt,
                              std::optional<wire::PhaseMessage> phase = std::nullopt) {
  wire::CheckInRequest message;
  message.codecs = KnownStages();
  message.wait = wait;
  message.version_held = version_held;
  message.phase = std::move(phase);
  return {"POST", "/v1/check-in", "localhost", {}, wire::Encode(message)};
}

inline wire::CheckInAnswer CheckInAs(Server& server, const std::string& device,
                                     std::optional<std::uint64_t> version_held = std::nullopt,
                                     std::optional<wire::PhaseMessage> phase = std::nullopt) {
  const net::Response response =
      server.Send(Device(device), CheckInOf(false, version_held, std::move(phase)));
  REQUIRE(response.status == 200);
  return Get(wire::Decode<wire::CheckInAnswer>(response.body));
}

inline wire::UpdateStream EncodeAll(const StreamPlan& plan, std::span<const float> flat,
                                    const RoundParameters& parameters) {
  wire::UpdateStream stream{plan.id, {}};
  for (std::size_t i = 0; i < plan.segments->segments().size(); ++i) {
    const Codec& codec = *plan.segments->segments()[i].codec;
    std::vector<float> values(codec.count());
    std::vector<float> decoded(codec.count());
    plan.segments->Gather(i, flat, values);
    ByteWriter out;
    codec.Encode(values, decoded, parameters, RngStream(5).Child("segment", i), out);
    stream.entries.push_back({i, std::move(out).Take()});
  }
  return stream;
}

// What a fake device answers to a train task: a delta of its own choice, metrics, and a count in
// each further stream.
inline wire::Update UpdateFor(const FederationPlan& plan, const wire::Task& task,
                              std::span<const float> delta, std::uint64_t examples) {
  wire::Update update;
  update.task = TaskId{task.id};
  update.base = task.model.digest.prefix();
  update.recipe = task.recipe;
  update.examples = examples;
  if (task.kind == wire::TaskKind::kTrain) {
    update.streams.push_back(EncodeAll(plan.streams()[0], delta, plan.round_parameters()));
  }
  const std::vector<float> metrics = task.kind == wire::TaskKind::kTrain
                                         ? std::vector<float>{2.0F, 0.5F, 1.0F, 10.0F}
                                         : std::vector<float>{3000.0F, 0.9F, 0.8F, 1.0F};
  update.streams.push_back(EncodeAll(plan.streams()[1], metrics, {}));
  for (std::size_t i = 2; i < plan.streams().size() && task.kind == wire::TaskKind::kTrain; ++i) {
    const std::vector<float> ones(plan.streams()[i].segments->layout().total(), 1.0F);
    update.streams.push_back(EncodeAll(plan.streams()[i], ones, {}));
  }
  return update;
}

// A delta that depends on the device and the round alone.
inline std::vector<float> DeltaOf(const FederationPlan& plan, const std::string& device,
                                  std::uint64_t round) {
  std::vector<float> delta(plan.layout().total());
  RngStream rng = RngStream(3).Child("delta", device).Child("round", round);
  rng.FillUniform(delta);
  return delta;
}

inline std::uint64_t ExamplesOf(const std::string& device) {
  return 10 + static_cast<std::uint64_t>(device.back()) % 7;
}

inline Bytes GoodUpdate(const FederationPlan& plan, const wire::Task& task,
                        const std::string& device) {
  return wire::EncodeUpdate(
      UpdateFor(plan, task, DeltaOf(plan, device, task.round), ExamplesOf(device)));
}

inline net::Response Put(Server& server, const std::string& device, std::uint64_t task,
                         Bytes body) {
  return server.Send(Device(device), {"PUT", TaskTarget(task), "localhost", {}, std::move(body)});
}

inline ErrorCode RefusalCode(const net::Response& response) {
  if (response.status < 300) return ErrorCode::kOk;
  const auto refusal = wire::Decode<wire::Refusal>(response.body);
  return refusal ? static_cast<ErrorCode>(refusal->code) : ErrorCode::kInternal;
}

// Each device checks in and uploads what it is asked for, in the given order, until the federation
// is done.
inline void PlayAll(Server& server, const std::vector<std::string>& devices, int turns_max = 1000) {
  for (int turn = 0; turn < turns_max; ++turn) {
    bool all_done = true;
    for (const std::string& device : devices) {
      const wire::CheckInAnswer answer = CheckInAs(server, device);
      all_done = all_done && answer.done;
      if (answer.phase) {
        CheckInAs(server, device, std::nullopt,
                  wire::PhaseMessage{answer.phase->round, answer.phase->phase, {1, 2}});
      }
      if (answer.task) {
        const net::Response response =
            Put(server, device, answer.task->id, GoodUpdate(server.plan(), *answer.task, device));
        CHECK(response.status == 200);
      }
    }
    if (all_done) return;
    server.Pass(0.1);
  }
  FAIL("the federation did not end");
}

}  // namespace fl::server::testing
