#include "fl/tests/server/support/fake_fleet.h"

namespace fl::server::testing {
namespace {

const std::vector<std::string> kThree = {"device-0", "device-1", "device-2"};

TEST_CASE("A federation: goes through its rounds and is done") {
  Server server(MakePlan(PlanText("count = 3\npopulation_min = 3\ngoal = 3\nmin_report = 2")));
  PlayAll(server, kThree);
  CHECK(server.federation().state == FederationState::kDone);
  CHECK(server.federation().version == 3);
  CHECK(server.federation().published == 3);
  for (std::uint64_t round = 1; round <= 3; ++round) {
    CHECK(server.round(round).state == RoundState::kPublished);
    CHECK(server.round(round).accepted == 3);
    CHECK(server.round(round).goal_reached);
  }
}

TEST_CASE("A federation: publishes the weighted mean of the deltas on top of the model") {
  const auto plan = MakePlan(PlanText("count = 1\npopulation_min = 3\ngoal = 3"));
  Server server(plan);
  const std::vector<float> before = server.model_values();
  CHECK(before == plan->InitialModel());
  PlayAll(server, kThree);
  const std::vector<float> after = server.model_values();
  for (std::size_t i = 0; i < after.size(); ++i) {
    double sum = 0;
    double weight = 0;
    for (const std::string& device : kThree) {
      sum += static_cast<double>(ExamplesOf(device)) * double{DeltaOf(*plan, device, 1)[i]};
      weight += static_cast<double>(ExamplesOf(device));
    }
    CHECK(double{after[i]} == doctest::Approx(double{before[i]} + sum / weight).epsilon(1e-5));
  }
}

TEST_CASE("A federation: gives the same model for any order of arrival") {
  const auto plan = MakePlan(PlanText("count = 2\npopulation_min = 3\ngoal = 3"));
  Server forwards(plan);
  PlayAll(forwards, kThree);
  Server backwards(plan);
  PlayAll(backwards, {"device-2", "device-1", "device-0"});
  CHECK(forwards.model() == backwards.model());
}

TEST_CASE("A round: opens only when enough clients are known") {
  Server server(MakePlan(PlanText("count = 1\npopulation_min = 3\ngoal = 1")));
  CHECK_FALSE(CheckInAs(server, "device-0").task.has_value());
  CHECK_FALSE(CheckInAs(server, "device-1").task.has_value());
  CHECK(server.federation().round == 0);
  CheckInAs(server, "device-2");
  CHECK(server.federation().round == 1);
}

TEST_CASE("A round: asks as many clients as the policy says") {
  Server server(MakePlan(PlanText("count = 1\npopulation_min = 4\ngoal = 2\nover_select = 1.4")));
  for (const char* device : {"a", "b", "c", "d"}) CheckInAs(server, device);
  CHECK(server.round(1).cohort == 3);
}

TEST_CASE("A round: is abandoned at the deadline with too few updates and the next one opens") {
  Server server(MakePlan(
      PlanText("count = 1\npopulation_min = 3\ngoal = 3\nmin_report = 2\ndeadline_s = 10")));
  for (const std::string& device : kThree) CheckInAs(server, device);
  const auto answer = CheckInAs(server, "device-1");
  REQUIRE(answer.task.has_value());
  CHECK(
      Put(server, "device-1", answer.task->id, GoodUpdate(server.plan(), *answer.task, "device-1"))
          .status == 200);
  CHECK(server.wake_at() == server.now() + std::chrono::seconds(10));
  server.Pass(9.9);
  CHECK(server.round(1).state == RoundState::kCollecting);
  server.Pass(0.1);
  CHECK(server.round(1).state == RoundState::kAbandoned);
  CHECK(server.federation().version == 0);
  PlayAll(server, kThree);
  CHECK(server.round(2).state == RoundState::kPublished);
  CHECK(server.federation().version == 1);
}

TEST_CASE("A round: folds at the deadline with enough updates") {
  Server server(MakePlan(
      PlanText("count = 1\npopulation_min = 3\ngoal = 3\nmin_report = 1\ndeadline_s = 10")));
  for (const std::string& device : kThree) CheckInAs(server, device);
  const auto answer = CheckInAs(server, "device-1");
  Put(server, "device-1", answer.task->id, GoodUpdate(server.plan(), *answer.task, "device-1"));
  server.Pass(10);
  CHECK(server.round(1).state == RoundState::kPublished);
  CHECK(server.round(1).accepted == 1);
  CHECK_FALSE(server.round(1).goal_reached);
}

TEST_CASE("A round with a hello phase: collects only after each of the cohort has answered") {
  Server server(MakePlan(
      PlanText("count = 2\npopulation_min = 2\ngoal = 2\nphases = [\"hello\", \"collect\"]")));
  CheckInAs(server, "device-0");
  const auto first = CheckInAs(server, "device-1");
  CHECK_FALSE(first.task.has_value());
  REQUIRE(first.phase.has_value());
  CHECK(first.phase->round == 1);
  CHECK(first.phase->phase == 0);
  const auto waiting = CheckInAs(server, "device-1", std::nullopt, wire::PhaseMessage{1, 0, {7}});
  CHECK_FALSE(waiting.task.has_value());
  CHECK_FALSE(waiting.phase.has_value());
  const auto last = CheckInAs(server, "device-0", std::nullopt, wire::PhaseMessage{1, 0, {7}});
  CHECK(last.task.has_value());
  PlayAll(server, {"device-0", "device-1"});
  CHECK(server.federation().published == 2);
}

TEST_CASE("A round with a hello phase: is abandoned when too few answer by the deadline") {
  Server server(
      MakePlan(PlanText("count = 1\npopulation_min = 2\ngoal = 2\nmin_report = 2\ndeadline_s = "
                        "5\nphases = [\"hello\", \"collect\"]")));
  CheckInAs(server, "device-0");
  CheckInAs(server, "device-1");
  CheckInAs(server, "device-1", std::nullopt, wire::PhaseMessage{1, 0, {}});
  server.Pass(5);
  CHECK(server.round(1).state == RoundState::kAbandoned);
}

TEST_CASE("An update in another phase than collect: is refused as a wrong state") {
  Server server(MakePlan(
      PlanText("count = 1\npopulation_min = 1\ngoal = 1\nphases = [\"hello\", \"collect\"]")));
  CheckInAs(server, "device-0");
  const std::uint64_t task = TaskIdOf("small", wire::TaskKind::kTrain, 1, "device-0");
  CHECK(RefusalCode(Put(server, "device-0", task, Bytes(10))) == ErrorCode::kWrongState);
}

TEST_CASE("A phase message of a round that is not open: is refused") {
  Server server(MakePlan(
      PlanText("count = 1\npopulation_min = 1\ngoal = 1\nphases = [\"hello\", \"collect\"]")));
  const auto send = [&](const std::string& device, std::uint64_t round, std::uint8_t phase) {
    return RefusalCode(server.Send(
        Device(device), CheckInOf(false, std::nullopt, wire::PhaseMessage{round, phase, {}})));
  };
  CheckInAs(server, "device-0");
  CHECK(send("device-0", 2, 0) == ErrorCode::kWrongState);
  CHECK(send("device-0", 1, 1) == ErrorCode::kWrongState);
  CHECK(send("device-9", 1, 0) == ErrorCode::kUnknownTask);
  CHECK(send("device-0", 1, 0) == ErrorCode::kOk);
  CHECK(send("device-0", 1, 0) == ErrorCode::kOk);
}

TEST_CASE("A task: offers the change from the version held and else the whole model") {
  Server server(MakePlan(PlanText("count = 3\npopulation_min = 1\ngoal = 1",
                                  "[aggregation]\nchange_versions_max = 1\n")));
  const auto play = [&](std::optional<std::uint64_t> held) {
    const auto answer = CheckInAs(server, "device-0", held);
    REQUIRE(answer.task.has_value());
    return answer.task->model;
  };
  const auto start = play(std::nullopt);
  CHECK(start.version == 0);
  CHECK_FALSE(start.blob.has_value());
  const auto first = CheckInAs(server, "device-0");
  // A delta of one value leaves a change that is smaller than the model.
  std::vector<float> delta(server.plan().layout().total());
  delta[0] = 0.25F;
  Put(server, "device-0", first.task->id,
      wire::EncodeUpdate(UpdateFor(server.plan(), *first.task, delta, 1)));
  CHECK_FALSE(play(1).blob.has_value());
  const auto whole = play(std::nullopt);
  REQUIRE(whole.blob.has_value());
  CHECK(*whole.blob == whole.digest);
  CHECK(whole.blob_bytes == delta.size() * sizeof(float));
  const net::Response blob = server.Send(
      Device("device-0"), {"GET", "/v1/blobs/" + whole.blob->ToHex(), "localhost", {}, {}});
  CHECK(crypto::Sha256(blob.body) == whole.digest);
  const net::Response part = server.Send(
      Device("device-0"),
      {"GET", "/v1/blobs/" + whole.blob->ToHex(), "localhost", {{"Range", "bytes=4-7"}}, {}});
  CHECK(part.status == 206);
  CHECK(part.body == Bytes(blob.body.begin() + 4, blob.body.begin() + 8));
}

TEST_CASE("Check-ins that may wait: are marked so while there is no task") {
  Server server(MakePlan(PlanText("count = 1\npopulation_min = 2\ngoal = 2")));
  RequestArrived arrived{1, Device("device-0"), CheckInOf(true), nullptr, true};
  CHECK(server.Handle({arrived}).replies[0].may_wait);
  arrived.may_hold = false;
  CHECK_FALSE(server.Handle({arrived}).replies[0].may_wait);
  arrived.may_hold = true;
  arrived.peer = Device("device-1");
  const ServerOutput output = server.Handle({arrived});
  CHECK_FALSE(output.replies[0].may_wait);
  CHECK(output.wakes == std::vector<std::string>{"device-0", "device-1"});
}

TEST_CASE("A batch: answers all its requests in their order from one transaction") {
  Server server(MakePlan(PlanText("count = 1\npopulation_min = 3\ngoal = 3")));
  std::vector<ServerEvent> batch;
  for (std::uint64_t i = 0; i < 3; ++i) {
    batch.emplace_back(RequestArrived{i, Device(kThree[i]), CheckInOf(), nullptr, false});
  }
  const std::uint64_t fence = server.federation().fence;
  const ServerOutput output = server.Handle(batch);
  CHECK(server.federation().fence == fence + 1);
  REQUIRE(output.replies.size() == 3);
  for (std::uint64_t i = 0; i < 3; ++i) {
    CHECK(output.replies[i].id == i);
    CHECK(Get(wire::Decode<wire::CheckInAnswer>(output.replies[i].response.body)).task.has_value());
  }
}

TEST_CASE("A second stream: is folded by its own recipe and combiner") {
  const auto plan = MakePlan(PlanText("count = 1\npopulation_min = 3\ngoal = 3",
                                      "[[stream]]\nname = \"labels\"\nsource = "
                                      "\"label_counts\"\nrecipe = \"raw\"\ncombiner = \"sum\"\n"));
  REQUIRE(plan->streams().size() == 3);
  Server server(plan);
  PlayAll(server, kThree);
  const auto transaction = Get(server.storage().Begin("small", TransactionMode::kOptimistic));
  const auto tensors = Get(transaction->Tensors("small"));
  REQUIRE(tensors.contains("stream/labels"));
  std::vector<float> sums(tensors.at("stream/labels").size() / sizeof(float));
  std::memcpy(sums.data(), tensors.at("stream/labels").data(), tensors.at("stream/labels").size());
  CHECK(sums == std::vector<float>(3, 3.0F));
}

}  // namespace
}  // namespace fl::server::testing
