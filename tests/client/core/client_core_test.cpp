#include "fl/client/core/client_core.h"

#include <algorithm>
#include <utility>

#include <doctest/doctest.h>

#include "fl/common/wire/update.h"
#include "fl/tests/client/fake_federation.h"
#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Answer;
using testing::Device;
using testing::FakeServer;
using testing::MakeData;
using testing::PlanText;
using testing::Refuse;

constexpr const char* kLossy = "top_k 20%";

// A federation that nothing disturbs: what others are compared with.
struct Undisturbed {
  explicit Undisturbed(const std::string& recipe, ClientOptions options = {})
      : server(PlanText(recipe)),
        device(server, cache, MakeData(server.plan()), std::move(options)) {
    REQUIRE(device.Run());
    REQUIRE(device.outcome->has_value());
  }
  FakeServer server;
  MemoryContentCache cache;
  Device device;
};

TEST_CASE("ClientCore: takes part in each round and ends when the federation is done") {
  const Undisturbed run("raw");
  CHECK(run.server.accepted.size() == 3);
  CHECK(run.device.trainings == 3);
  CHECK(run.device.state.counters.accepted == 3);
  CHECK(run.device.state.counters.check_ins == 4);
  CHECK_FALSE(run.device.state.staged);
  CHECK(std::ranges::count(run.server.log, "POST /v1/check-in") == 4);
}

TEST_CASE("ClientCore: tells the version that it holds and takes changes against it") {
  Undisturbed run("raw");
  REQUIRE(run.server.check_ins.size() == 4);
  CHECK_FALSE(run.server.check_ins[0].version_held);
  CHECK(run.server.check_ins[1].version_held == 0);
  CHECK(run.server.check_ins[2].version_held == 1);
  CHECK(run.server.check_ins[0].codecs == KnownStages());
  // Each model came once: two changes, and the plan.
  CHECK(std::ranges::count_if(run.server.log, [](const std::string& line) {
          return line.starts_with("GET /v1/blobs/");
        }) == 3);
}

TEST_CASE("ClientCore: whole models give the same updates as changes") {
  const Undisturbed changes("raw");
  FakeServer server(PlanText("raw"));
  server.offers_changes = false;
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  REQUIRE(device.Run());
  CHECK(server.accepted == changes.server.accepted);
}

TEST_CASE("ClientCore: fetches and uploads in pieces when they exceed one") {
  const Undisturbed whole(kLossy);
  ClientOptions options;
  options.chunk_bytes = 40;
  FakeServer server(PlanText(kLossy));
  server.offers_changes = false;
  MemoryContentCache cache;
  cache.StorePlan(server.Idle().plan, PlanText(kLossy), testing::MakePlan(PlanText(kLossy)));
  Device device(server, cache, MakeData(server.plan()), options);
  REQUIRE(device.Run());
  CHECK(server.accepted == whole.server.accepted);
  for (const Bytes& update : server.accepted) {
    const auto task = Get(wire::DecodeUpdate(update, {})).task.value;
    CHECK(server.patches[task] == (update.size() + 39) / 40);
  }
  CHECK(std::ranges::none_of(server.log,
                             [](const std::string& line) { return line.starts_with("PUT "); }));
}

// Each exchange is disturbed once; what reaches the server stays the same.
void CheckEachLoss(
    std::size_t chunk_bytes,
    const std::function<Result<net::Response>(const net::Request&, FakeServer&)>& disturbed) {
  ClientOptions options;
  options.chunk_bytes = chunk_bytes;
  const Undisturbed reference(kLossy);
  for (std::size_t nth = 1; nth < 60; ++nth) {
    CAPTURE(nth);
    FakeServer server(PlanText(kLossy));
    MemoryContentCache cache;
    cache.StorePlan(server.Idle().plan, PlanText(kLossy), testing::MakePlan(PlanText(kLossy)));
    Device device(server, cache, MakeData(server.plan()), options);
    device.carries = [&](std::size_t exchange, const net::Request& request, FakeServer& to) {
      return exchange == nth ? disturbed(request, to) : Result<net::Response>(to.Handle(request));
    };
    REQUIRE(device.Run());
    REQUIRE(device.outcome->has_value());
    CHECK(server.accepted == reference.server.accepted);
    CHECK(device.trainings == 3);
    if (device.exchanges < nth) return;
  }
  FAIL("the federation needs more exchanges than were disturbed");
}

TEST_CASE("ClientCore: a lost request at any place changes no update") {
  const auto lost = [](const net::Request&, FakeServer&) -> Result<net::Response> {
    return Error{ErrorCode::kUnavailable, "no route"};
  };
  CheckEachLoss(1U << 20, lost);
  CheckEachLoss(40, lost);
}

TEST_CASE("ClientCore: a lost answer at any place changes no update") {
  const auto lost = [](const net::Request& request, FakeServer& server) -> Result<net::Response> {
    server.Handle(request);
    return Error{ErrorCode::kTimeout, "no answer"};
  };
  CheckEachLoss(1U << 20, lost);
  CheckEachLoss(40, lost);
}

TEST_CASE("ClientCore: garbage instead of an answer at any place changes no update") {
  const auto garbage = [](const net::Request& request,
                          FakeServer& server) -> Result<net::Response> {
    server.Handle(request);
    return Answer(ToBytes("<html>hello</html>"));
  };
  CheckEachLoss(40, garbage);
}

TEST_CASE("ClientCore: a proxy's error page at any place changes no update") {
  CheckEachLoss(40, [](const net::Request&, FakeServer&) -> Result<net::Response> {
    return Answer(ToBytes("<html>Bad gateway</html>"), 502);
  });
}

TEST_CASE("ClientCore: killed before any of its commands it goes on with the same updates") {
  const Undisturbed reference(kLossy);
  for (const std::size_t chunk : {std::size_t{40}, std::size_t{1} << 20}) {
    std::size_t kill_at = 1;
    for (;; ++kill_at) {
      CAPTURE(kill_at);
      REQUIRE(kill_at < 200);
      ClientOptions options;
      options.chunk_bytes = chunk;
      FakeServer server(PlanText(kLossy));
      MemoryContentCache cache;
      cache.StorePlan(server.Idle().plan, PlanText(kLossy), testing::MakePlan(PlanText(kLossy)));
      Device device(server, cache, MakeData(server.plan()), options);
      std::size_t command = 0;
      bool staged_when_killed = false;
      std::size_t trainings_when_killed = 0;
      device.kills = [&](const ClientCommand&) { return ++command == kill_at; };
      if (device.Run()) break;
      if (!device.saved.empty()) {
        staged_when_killed = Get(DeviceState::Decode(device.saved)).staged.has_value();
      }
      trainings_when_killed = device.trainings;
      const std::size_t accepted_when_killed = server.accepted.size();
      REQUIRE(device.Run());
      CHECK(server.accepted == reference.server.accepted);
      // What was staged is never trained again.
      if (staged_when_killed) {
        const std::size_t left = 3 - accepted_when_killed;
        CHECK(device.trainings - trainings_when_killed <= left);
        CHECK(device.trainings == 3);
      }
    }
    CHECK(kill_at > 20);
  }
}

TEST_CASE("ClientCore: a refused update is given back to the residual") {
  Undisturbed reference(kLossy);
  FakeServer server(PlanText(kLossy));
  server.refusals = {ErrorCode::kTooLate};
  server.rounds = 1;
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  std::optional<NamedTensors> given_back;
  device.kills = [&](const ClientCommand& command) {
    const auto* record = std::get_if<RecordActivity>(&command);
    if (record != nullptr && record->what == "refused") given_back = *device.state.residual;
    return false;
  };
  REQUIRE(device.Run());
  REQUIRE(server.refused.size() == 1);
  REQUIRE(given_back);
  CHECK(device.state.counters.refused == 1);
  // The first delta whole: trained again without a residual and sent raw, it is the same.
  const Undisturbed raw("raw");
  const auto view = Get(wire::DecodeUpdate(raw.server.accepted.front(), {}));
  std::vector<float> delta(given_back->values.size());
  for (const auto& entry : view.streams.front().entries) {
    const Codec& codec = *raw.server.plan().delta.segments()[entry.segment].codec;
    const auto payload = Get(codec.Parse(entry.payload, {}, {}));
    std::vector<float> values(codec.count());
    codec.DecodeAdd(*payload, 0, 1.0F, values);
    raw.server.plan().delta.Scatter(entry.segment, values, delta);
  }
  for (std::size_t i = 0; i < delta.size(); ++i) {
    CHECK(given_back->values[i] == doctest::Approx(delta[i]).epsilon(1e-5));
  }
}

TEST_CASE("ClientCore: each refusal ends the task and not the device") {
  for (const ErrorCode code :
       {ErrorCode::kNotNeeded, ErrorCode::kTooLate, ErrorCode::kNormExceeded, ErrorCode::kWrongBase,
        ErrorCode::kUnknownTask, ErrorCode::kNotFinite}) {
    CAPTURE(ErrorCodeName(code));
    FakeServer server(PlanText(kLossy));
    server.refusals = {code, ErrorCode::kOk, code};
    MemoryContentCache cache;
    Device device(server, cache, MakeData(server.plan()));
    REQUIRE(device.Run());
    CHECK(server.accepted.size() == 3);
    CHECK(device.state.counters.refused == 2);
    CHECK(std::ranges::count(device.activities, std::string("refused"), &RecordActivity::what) ==
          2);
  }
}

TEST_CASE("ClientCore: a duplicate counts as accepted") {
  FakeServer server(PlanText(kLossy));
  server.rounds = 1;
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  device.carries = [](std::size_t, const net::Request& request,
                      FakeServer& to) -> Result<net::Response> {
    net::Response answer = to.Handle(request);
    if (request.method == "PUT") return Refuse(ErrorCode::kDuplicate);
    return answer;
  };
  REQUIRE(device.Run());
  CHECK(device.state.counters.accepted == 1);
  CHECK_FALSE(device.state.staged);
}

TEST_CASE("ClientCore: a model of another digest is not trained on") {
  FakeServer server(PlanText("raw"));
  wire::CheckInAnswer answer = server.Idle();
  answer.task = server.MakeTask(std::nullopt);
  answer.task->model.digest.bytes[0] ^= std::byte{1};
  server.scripted = answer;
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  REQUIRE(device.Run());
  CHECK(device.trainings == 3);
  CHECK(std::ranges::any_of(device.messages, [](const std::string& message) {
    return message.find("expected digest") != std::string::npos;
  }));
}

TEST_CASE("ClientCore: hostile tasks are given up one by one") {
  const auto with_task = [](const std::function<void(wire::Task&)>& spoil) {
    FakeServer server(PlanText("raw"));
    wire::CheckInAnswer answer = server.Idle();
    answer.task = server.MakeTask(std::nullopt);
    spoil(*answer.task);
    server.scripted = answer;
    MemoryContentCache cache;
    Device device(server, cache, MakeData(server.plan()));
    REQUIRE(device.Run());
    CHECK(device.outcome->has_value());
    CHECK(device.trainings == 3);
    CHECK(std::ranges::any_of(device.messages, [](const std::string& message) {
      return message.starts_with("gives up the task") || message.starts_with("the server's answer");
    }));
  };
  SUBCASE("no id") {
    with_task([](wire::Task& task) { task.id = 0; });
  }
  SUBCASE("another recipe") {
    with_task([](wire::Task& task) { ++task.recipe; });
  }
  SUBCASE("a version that nobody names") {
    with_task([](wire::Task& task) {
      task.model.version = 5;
      task.model.digest.bytes[0] ^= std::byte{1};
    });
  }
  SUBCASE("a blob larger than the model") {
    with_task([](wire::Task& task) {
      task.model.digest.bytes[0] ^= std::byte{1};
      task.model.blob = Digest{};
      task.model.blob_bytes = 1ULL << 60;
    });
  }
  SUBCASE("a change from a version that is not held") {
    with_task([](wire::Task& task) {
      task.model.digest.bytes[0] ^= std::byte{1};
      task.model.blob = Digest{};
      task.model.blob_bytes = 20;
      task.model.change_from = 3;
    });
  }
  SUBCASE("a blob that does not exist") {
    with_task([](wire::Task& task) {
      task.model.digest.bytes[0] ^= std::byte{1};
      task.model.blob = Digest{};
      task.model.blob_bytes = 60;
    });
  }
}

TEST_CASE("ClientCore: any bytes as answers never end the program") {
  fl::testing::ForAll(200, [](RngStream& rng) {
    FakeServer server(PlanText("raw"));
    MemoryContentCache cache;
    Device device(server, cache, MakeData(server.plan()));
    device.carries = [&](std::size_t, const net::Request& request,
                         FakeServer& to) -> Result<net::Response> {
      net::Response answer = to.Handle(request);
      if (rng.UniformInteger(3) > 0) return answer;
      if (answer.body.empty()) answer.body.resize(rng.UniformInteger(64));
      for (int i = 0; i < 3 && !answer.body.empty(); ++i) {
        answer.body[rng.UniformInteger(answer.body.size())] =
            static_cast<std::byte>(rng.UniformInteger(256));
      }
      if (rng.UniformInteger(4) == 0) answer.body.resize(rng.UniformInteger(200));
      answer.status = rng.UniformInteger(4) == 0 ? 404 : answer.status;
      return answer;
    };
    device.Run(300);
  });
}

TEST_CASE("ClientCore: a wrong certificate or an unknown federation ends with the reason") {
  for (const ErrorCode code : {ErrorCode::kUnauthorized, ErrorCode::kNotFound}) {
    FakeServer server(PlanText("raw"));
    MemoryContentCache cache;
    Device device(server, cache, MakeData(server.plan()));
    device.carries = [&](std::size_t, const net::Request&, FakeServer&) {
      return Result<net::Response>(Refuse(code, 403));
    };
    REQUIRE(device.Run());
    REQUIRE(device.outcome);
    CHECK(CodeOf(*device.outcome) == code);
  }
}

TEST_CASE("ClientCore: another protocol version ends with the reason") {
  FakeServer server(PlanText("raw"));
  wire::CheckInAnswer answer = server.Idle();
  answer.protocol = 9;
  server.scripted = answer;
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  REQUIRE(device.Run());
  CHECK(CodeOf(*device.outcome) == ErrorCode::kWrongVersion);
  CHECK(device.outcome->error().message.find("the client speaks version 1, the server version 9") !=
        std::string::npos);
}

TEST_CASE("ClientCore: the state of another client or federation is refused") {
  MemoryContentCache cache;
  DeviceState state;
  state.client = "device";
  state.federation = "tiny";
  ClientOptions options;
  options.name = "device";
  CHECK(ClientCore::Create(options, state, cache).has_value());
  options.name = "other";
  CHECK(CodeOf(ClientCore::Create(options, state, cache)) == ErrorCode::kWrongState);
  options.name = "device";
  options.federation = "large";
  CHECK(CodeOf(ClientCore::Create(options, state, cache)) == ErrorCode::kWrongState);
}

TEST_CASE("ClientCore: the server of another federation ends with the reason") {
  FakeServer server(PlanText("raw"));
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  DeviceState state;
  state.federation = "large";
  device.saved = state.Encode();
  REQUIRE(device.Run());
  CHECK(CodeOf(*device.outcome) == ErrorCode::kWrongState);
}

TEST_CASE("ClientCore: answers the hello phase at its next check-in") {
  const std::string text = PlanText("raw");
  const std::string with_hello = [&] {
    std::string changed = text;
    const std::string rounds = "[rounds]\n";
    changed.insert(changed.find(rounds) + rounds.size(), "phases = [\"hello\", \"collect\"]\n");
    return changed;
  }();
  FakeServer server(with_hello);
  wire::CheckInAnswer answer = server.Idle();
  answer.phase = wire::PhaseMessage{1, 0, {}};
  server.scripted = answer;
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  REQUIRE(device.Run());
  REQUIRE(server.check_ins.size() == 5);
  REQUIRE(server.check_ins[1].phase);
  CHECK(server.check_ins[1].phase->round == 1);
  CHECK_FALSE(server.check_ins[1].phase->body.empty());
  CHECK_FALSE(server.check_ins[2].phase);
}

TEST_CASE("ClientCore: an evaluation sends metrics and leaves the residual") {
  FakeServer server(PlanText(kLossy));
  server.kind = wire::TaskKind::kEvaluate;
  server.rounds = 1;
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  REQUIRE(device.Run());
  const auto view = Get(wire::DecodeUpdate(server.accepted.front(), {}));
  REQUIRE(view.streams.size() == 1);
  CHECK(view.streams.front().id == wire::kStreamMetrics);
  CHECK(device.state.counters.evaluated == 1);
  CHECK(device.state.residual == nullptr);
}

TEST_CASE("ClientCore: installs a deployed model before it reports it") {
  FakeServer server(PlanText("raw"));
  server.kind = wire::TaskKind::kDeploy;
  server.rounds = 1;
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  device.deploys = [](const DeploymentJob& job) {
    wire::Update update;
    update.task = TaskId{job.task.id};
    update.streams.push_back({wire::kStreamMetrics, {{0, ToBytes("m")}}});
    DeploymentResult result;
    result.update = wire::EncodeUpdate(update);
    result.model_file = ToBytes("model");
    result.installed = true;
    return result;
  };
  REQUIRE(device.Run());
  CHECK(device.installed == std::vector<Bytes>{ToBytes("model")});
  CHECK(server.accepted.size() == 1);
  CHECK(device.state.counters.deployed == 1);
}

TEST_CASE("ClientCore: an idle device's state is under 4 KiB") {
  const Undisturbed run("raw");
  CHECK(run.device.state.Encode().size() < 4096);
}

}  // namespace
}  // namespace fl::client
