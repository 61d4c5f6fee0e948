#include <functional>

#include "fl/compression/deploy/federation_ranges.h"
#include "fl/server/core/calibration.h"
#include "fl/tests/server/support/fake_fleet.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::server::testing {
namespace {

using fl::testing::TemporaryFolder;

const std::vector<std::string> kFleet = {"device-0", "device-1", "device-2"};

// Its rounds have masks of their own, so that parameters move, too.
std::string SmallPlan() {
  return PlanText(
      "count = 2\npopulation_min = 3\ngoal = 3\nmin_report = 3\nphases = [\"hello\", \"collect\"]",
      "[compression]\ngather_below = 0\n[[compression.recipe]]\ntensors = \"*\"\n"
      "recipe = \"shared_mask 50% block=1\"\n");
}

// After its round the devices calibrate, and each gets a deploy task.
std::string CalibratingPlan() {
  return PlanText("count = 1\npopulation_min = 3\ngoal = 3\nmin_report = 3",
                  "[deployment]\nversion = 1\n[[deployment.pass]]\npass = \"ptq_static\"\n"
                  "ranges = \"federation\"\n[[deployment.pass]]\npass = \"verify\"\n");
}

Bytes RangesOf(Storage& storage) {
  const auto transaction = Get(storage.Begin("small", TransactionMode::kOptimistic));
  const auto bytes = Get(transaction->FindTensor("small", CalibrationTally::kTensor));
  REQUIRE(bytes.has_value());
  const CalibrationTally tally = Get(CalibrationTally::Decode(*bytes));
  CHECK(tally.devices == 3);
  REQUIRE(tally.ranges.has_value());
  return Get(transaction->ReadBlob(*tally.ranges)).value();
}

Digest ModelOf(Storage& storage) {
  const auto transaction = Get(storage.Begin("small", TransactionMode::kOptimistic));
  const auto federation = Get(transaction->FindFederation("small"));
  REQUIRE(federation.has_value());
  CHECK(federation->version == 2);
  return Get(transaction->FindModel("small", federation->version))->digest;
}

// The model of a federation that nothing disturbs.
Digest UndisturbedModel() {
  Server server(MakePlan(SmallPlan()));
  PlayAll(server, kFleet);
  return server.model();
}

// Plays without any expectation, as devices do whose server dies at some moment: a request that is
// not answered is just dropped. True when the federation has come to its end.
bool PlayFragile(Storage& storage, const std::shared_ptr<const FederationPlan>& plan) {
  const TimePoint now = FromMicroseconds(1'000'000'000);
  auto core = ServerCore::Create(storage, plan, now);
  if (!core) return false;
  for (int turn = 0; turn < 30; ++turn) {
    bool all_done = true;
    for (const std::string& device : kFleet) {
      const auto send = [&](net::Request request) {
        const ServerOutput output =
            (*core)->Handle(std::vector<ServerEvent>{RequestArrived{
                                1, Device(device), std::move(request), nullptr, false}},
                            now);
        for (const ServerCommand& command : output.commands) {
          const std::uint64_t round = std::get<StartFold>(command).round;
          (*core)->Handle(
              std::vector<ServerEvent>{FoldDone{round, std::make_shared<const Result<RoundResult>>(
                                                           RunFold(storage, *plan, round))}},
              now);
        }
        return output.replies[0].response;
      };
      const auto answer = wire::Decode<wire::CheckInAnswer>(send(CheckInOf()).body);
      if (!answer || answer->federation.empty()) return false;
      all_done = all_done && answer->done;
      if (answer->phase) {
        send(CheckInOf(false, std::nullopt,
                       wire::PhaseMessage{answer->phase->round, answer->phase->phase, {}}));
      }
      if (answer->task) {
        std::optional<Bytes> parameters;
        if (answer->task->round_parameters) {
          const net::Response blob = send(BlobRequest(*answer->task->round_parameters));
          if (blob.status != 200) return false;
          parameters = blob.body;
        }
        send({"PUT",
              TaskTarget(answer->task->id),
              "localhost",
              {},
              GoodUpdate(*plan, *answer->task, device, parameters)});
      }
    }
    if (all_done) return true;
  }
  return false;
}

// Each run fails at one operation and at all after it, as a dead process does; the next process
// goes on over the same file. The step grows, so that early and late operations are covered in
// reasonable time.
void DieAtEachOperation(const std::shared_ptr<const FederationPlan>& plan,
                        const std::function<void(Storage&)>& check) {
  bool finished_at_once = false;
  for (int fail_at = 0; !finished_at_once; fail_at += 1 + fail_at / 12) {
    CAPTURE(fail_at);
    const TemporaryFolder folder;
    const std::string path = (folder.path() / "state.db").string();
    int operations = 0;
    {
      SqliteOptions options;
      options.before_operation = [&]() -> Result<> {
        if (operations++ < fail_at) return Ok{};
        return Error{ErrorCode::kIo, "the disk is gone"};
      };
      const auto storage = OpenSqliteStorage(path, options);
      finished_at_once = storage && PlayFragile(**storage, plan);
    }
    const auto storage = Get(OpenSqliteStorage(path));
    REQUIRE(PlayFragile(*storage, plan));
    check(*storage);
  }
}

TEST_CASE("A server that dies at any operation of its storage: ends with the same model") {
  const auto plan = MakePlan(SmallPlan());
  const Digest expected = UndisturbedModel();
  DieAtEachOperation(plan, [&](Storage& storage) { REQUIRE(ModelOf(storage) == expected); });
}

TEST_CASE("A server that dies while devices calibrate: loses and doubles no device's values") {
  const auto plan = MakePlan(CalibratingPlan());
  std::vector<float> pooled;
  for (const std::string& device : kFleet) {
    const std::vector<float> samples = SamplesOf(*plan, device);
    pooled.insert(pooled.end(), samples.begin(), samples.end());
  }
  const Bytes expected = deploy::EncodeRanges(
      Get(CalibrationOf(*plan, pooled).Ranges(plan->checked().calibration->options)));
  DieAtEachOperation(plan, [&](Storage& storage) { REQUIRE(RangesOf(storage) == expected); });
}

TEST_CASE("A server that dies again and again: ends with the same model") {
  const auto plan = MakePlan(SmallPlan());
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "state.db").string();
  bool finished = false;
  for (int life = 0; life < 2000 && !finished; ++life) {
    int operations = 0;
    SqliteOptions options;
    options.before_operation = [&]() -> Result<> {
      if (operations++ < 40 + life * 7) return Ok{};
      return Error{ErrorCode::kIo, "the disk is gone"};
    };
    const auto storage = OpenSqliteStorage(path, options);
    if (storage) finished = PlayFragile(**storage, plan);
  }
  REQUIRE(finished);
  CHECK(ModelOf(*Get(OpenSqliteStorage(path))) == UndisturbedModel());
}

TEST_CASE("Two cores over one file: give the same model in spite of conflicts") {
  const auto plan = MakePlan(SmallPlan());
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "state.db").string();
  SqliteOptions impatient;
  impatient.busy_timeout_ms = 1;
  const auto other_storage = Get(OpenSqliteStorage(path, impatient));
  ServerCore* other = nullptr;
  bool inside = false;
  int conflicts = 0;
  int operations = 0;
  TimePoint now = FromMicroseconds(1'000'000'000);
  SqliteOptions options;
  // In the middle of the first core's transactions the second one commits a batch of its own.
  options.before_operation = [&]() -> Result<> {
    if (inside || other == nullptr || ++operations % 9 != 0) return Ok{};
    inside = true;
    other->Handle(std::vector<ServerEvent>{RequestArrived{1, Device("device-1"), CheckInOf(),
                                                          nullptr, false}},
                  now);
    ++conflicts;
    inside = false;
    return Ok{};
  };
  options.busy_timeout_ms = 1;
  const auto storage = Get(OpenSqliteStorage(path, options));
  auto first = Get(ServerCore::Create(*storage, plan, now));
  auto second = Get(ServerCore::Create(*other_storage, plan, now));
  other = second.get();
  bool all_done = false;
  for (int turn = 0; turn < 200 && !all_done; ++turn) {
    now += std::chrono::milliseconds(10);
    all_done = true;
    for (std::size_t i = 0; i < kFleet.size(); ++i) {
      ServerCore& core = (turn + static_cast<int>(i)) % 2 == 0 ? *first : *second;
      Storage& its = &core == first.get() ? *storage : *other_storage;
      const auto handle = [&](ServerEvent event) {
        ServerOutput output = core.Handle(std::vector<ServerEvent>{std::move(event)}, now);
        CHECK_FALSE(output.failure.has_value());
        for (const ServerCommand& command : output.commands) {
          const std::uint64_t round = std::get<StartFold>(command).round;
          auto result = std::make_shared<const Result<RoundResult>>(RunFold(its, *plan, round));
          // Both cores hear of the result; it is stored once.
          first->Handle(std::vector<ServerEvent>{FoldDone{round, result}}, now);
          second->Handle(std::vector<ServerEvent>{FoldDone{round, result}}, now);
        }
        return output;
      };
      const auto send = [&](net::Request request) {
        return handle(RequestArrived{1, Device(kFleet[i]), std::move(request), nullptr, false})
            .replies[0]
            .response;
      };
      const auto answer = Get(wire::Decode<wire::CheckInAnswer>(send(CheckInOf()).body));
      all_done = all_done && answer.done;
      if (answer.phase) {
        send(CheckInOf(false, std::nullopt, wire::PhaseMessage{answer.phase->round, 0, {}}));
      }
      if (answer.task) {
        std::optional<Bytes> parameters;
        if (answer.task->round_parameters) {
          parameters = send(BlobRequest(*answer.task->round_parameters)).body;
        }
        send({"PUT",
              TaskTarget(answer.task->id),
              "localhost",
              {},
              GoodUpdate(*plan, *answer.task, kFleet[i], parameters)});
      }
    }
  }
  CHECK(all_done);
  CHECK(conflicts > 0);
  CHECK(ModelOf(*other_storage) == UndisturbedModel());
}

TEST_CASE("A state of another plan: is refused unless only named keys differ") {
  const auto storage = Get(OpenSqliteStorage(":memory:"));
  const TimePoint now{};
  const auto create = [&](const std::string& rounds, const std::string& extra = "") {
    return CodeOf(ServerCore::Create(*storage, MakePlan(PlanText(rounds, extra)), now));
  };
  CHECK(create("count = 1\npopulation_min = 2\ngoal = 1") == ErrorCode::kOk);
  CHECK(create("count = 1\npopulation_min = 2\ngoal = 1") == ErrorCode::kOk);
  CHECK(create("count = 5\npopulation_min = 2\ngoal = 1\ndeadline_s = 20\nwait_s = 2") ==
        ErrorCode::kOk);
  CHECK(create("count = 1\npopulation_min = 2\ngoal = 2") == ErrorCode::kWrongState);
  CHECK(create("count = 1\npopulation_min = 2\ngoal = 1", "[training]\nepochs = 3\n") ==
        ErrorCode::kWrongState);
}

TEST_CASE("A storage that fails: every request is answered that it should come again") {
  bool broken = false;
  SqliteOptions options;
  options.before_operation = [&]() -> Result<> {
    if (!broken) return Ok{};
    return Error{ErrorCode::kIo, "the disk is gone"};
  };
  const auto storage = Get(OpenSqliteStorage(":memory:", options));
  Server server(MakePlan(SmallPlan()), storage.get());
  broken = true;
  const net::Response response = server.Send(Device("device-0"), CheckInOf());
  CHECK(response.status == 503);
  const auto refusal = Get(wire::Decode<wire::Refusal>(response.body));
  CHECK(refusal.again_max_ms > 0);
  broken = false;
  CHECK(server.Send(Device("device-0"), CheckInOf()).status == 200);
}

}  // namespace
}  // namespace fl::server::testing
