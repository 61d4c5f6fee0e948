#include "fl/server/report/report.h"
#include "fl/tests/server/support/fake_fleet.h"

namespace fl::server::testing {
namespace {

const std::vector<std::string> kFleet = {"device-0", "device-1", "device-2"};

std::string Rounds(const std::string& evaluation) {
  return PlanText("count = 2\npopulation_min = 3\ngoal = 1\nmin_report = 1",
                  "[aggregation]\nreleased = \"average\"\n[evaluation]\n" + evaluation);
}

// The cohort answers, and each other device takes what it is offered without answering.
std::vector<std::pair<std::string, wire::Task>> OfferedAfterRound(Server& server) {
  for (const std::string& device : kFleet) CheckInAs(server, device);
  for (const std::string& device : kFleet) {
    const wire::CheckInAnswer answer = CheckInAs(server, device);
    if (!answer.task || answer.task->kind != wire::TaskKind::kTrain) continue;
    Put(server, device, answer.task->id, GoodUpdate(server.plan(), *answer.task, device));
    break;
  }
  std::vector<std::pair<std::string, wire::Task>> offered;
  for (const std::string& device : kFleet) {
    const wire::CheckInAnswer answer = CheckInAs(server, device);
    if (answer.task && answer.task->kind == wire::TaskKind::kEvaluate) {
      offered.emplace_back(device, *answer.task);
    }
  }
  return offered;
}

Bytes Measured(const Server& server, const wire::Task& task, const std::vector<float>& metrics) {
  wire::Update update = UpdateFor(server.plan(), task, {}, 1);
  update.streams = {EncodeAll(server.plan().streams()[1], metrics, {})};
  return wire::EncodeUpdate(update);
}

TEST_CASE("Evaluation by clients: is asked of as many as the plan says and not without it") {
  Server server(MakePlan(Rounds("clients = 3")));
  // One of the three trains in the next round instead.
  CHECK(OfferedAfterRound(server).size() == 2);
  Server without(MakePlan(Rounds("")));
  CHECK(OfferedAfterRound(without).empty());
}

TEST_CASE("Evaluation by clients: names the released model and is weighted by examples") {
  Server server(MakePlan(Rounds("clients = 3")));
  const auto offered = OfferedAfterRound(server);
  REQUIRE(offered.size() == 2);
  const auto& [first, first_task] = offered[0];
  const auto& [second, second_task] = offered[1];
  CHECK(first_task.model.version == 1);
  CHECK(Put(server, first, first_task.id, Measured(server, first_task, {1.0F, 0.5F, -1.0F, 30.0F}))
            .status == 200);
  CHECK(
      Put(server, second, second_task.id, Measured(server, second_task, {2.0F, 1.0F, -1.0F, 10.0F}))
          .status == 200);
  const RoundReport round = Get(BuildReport(server.storage(), server.plan())).rounds.front();
  CHECK(round.loss_clients == 1.25);
  CHECK(round.accuracy_clients == 0.625);
  CHECK(round.accuracy == 0.625);
}

TEST_CASE("Evaluation by clients: counts an answer once and leaves out one that measured nothing") {
  Server server(MakePlan(Rounds("clients = 3")));
  const auto offered = OfferedAfterRound(server);
  REQUIRE(offered.size() == 2);
  const auto& [first, first_task] = offered[0];
  const auto& [second, second_task] = offered[1];
  const Bytes answer = Measured(server, first_task, {1.0F, 0.5F, -1.0F, 30.0F});
  CHECK(Put(server, first, first_task.id, answer).status == 200);
  CHECK(Put(server, first, first_task.id, answer).status == 200);
  CHECK(Put(server, second, second_task.id,
            Measured(server, second_task, {-1.0F, -1.0F, -1.0F, 0.0F}))
            .status == 200);
  CHECK_FALSE(CheckInAs(server, first).task.has_value());
  CHECK(Get(BuildReport(server.storage(), server.plan())).rounds.front().loss_clients == 1.0);
}

TEST_CASE("Evaluation by clients: refuses a delta in its place") {
  Server server(MakePlan(Rounds("clients = 3")));
  const auto offered = OfferedAfterRound(server);
  REQUIRE_FALSE(offered.empty());
  const auto& [device, task] = offered[0];
  wire::Task train = task;
  train.kind = wire::TaskKind::kTrain;
  const Bytes update = GoodUpdate(server.plan(), train, device);
  CHECK(RefusalCode(Put(server, device, task.id, update)) == ErrorCode::kStreamMismatch);
}

TEST_CASE("Evaluation by clients: measures the last version too and changes no model") {
  Server server(MakePlan(Rounds("clients = 3")));
  PlayAll(server, kFleet);
  Server without(MakePlan(Rounds("")));
  PlayAll(without, kFleet);
  CHECK(server.model() == without.model());
  const Report report = Get(BuildReport(server.storage(), server.plan()));
  CHECK(report.final_accuracy_clients == 0.5);
  CHECK(report.final_loss_clients == 2.0);
}

}  // namespace
}  // namespace fl::server::testing
