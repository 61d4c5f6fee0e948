#include "fl/server/report/report.h"

#include <nlohmann/json.hpp>

#include "fl/tests/server/support/fake_fleet.h"

namespace fl::server::testing {
namespace {

nlohmann::json AdminJson(Server& server, const std::string& method, const std::string& page,
                         unsigned status = 200) {
  const net::Response response =
      server.Send(Admin(), {method, "/v1/admin/" + page, "localhost", {}, {}});
  CHECK(response.status == status);
  return nlohmann::json::parse(AsText(response.body));
}

TEST_CASE("The report: counts rounds and bytes and refusals") {
  Server server(MakePlan(PlanText("count = 2\npopulation_min = 2\ngoal = 2")));
  CheckInAs(server, "device-0");
  const auto answer = CheckInAs(server, "device-1");
  CHECK(RefusalCode(Put(server, "device-1", answer.task->id, Bytes(2))) == ErrorCode::kMalformed);
  PlayAll(server, {"device-0", "device-1"});
  const auto report = AdminJson(server, "GET", "report");
  CHECK(report["seed"] == 7);
  CHECK(report["state"] == "done");
  CHECK(report["plan_sha256"] == server.plan().digest().ToHex());
  REQUIRE(report["rounds"].size() == 2);
  CHECK(report["rounds"][0]["refused"]["malformed"] == 1);
  CHECK(report["rounds"][0]["accepted"] == 2);
  CHECK(report["rounds"][0]["version"] == 1);
  // The clients of round 2 measured what round 1 published.
  CHECK(report["rounds"][0]["accuracy"] == 0.5);
  CHECK(report["rounds"][1]["accuracy"].is_null());
  CHECK(report["rounds"][0]["bytes_up"] > report["rounds"][0]["body_bytes_up"]);
  CHECK(report["totals"]["accepted"] == 4);
  CHECK(report["totals"]["fp32_body_bytes_up"] == 4 * 9 * 4);
  CHECK(report["final"]["model_sha256"] == server.model().ToHex());
}

TEST_CASE("The report: shows the server's own evaluation where there is one") {
  Server server(MakePlan(PlanText("count = 1\ngoal = 1")));
  PlayAll(server, {"device-0"});
  server.Handle({Evaluated{1, 0.25, 0.75}});
  const Report report = Get(BuildReport(server.storage(), server.plan()));
  CHECK(report.final_accuracy == 0.75);
  CHECK(report.rounds[0].loss == 0.25);
}

TEST_CASE("The core: asks for the evaluation of each version once") {
  Server server(MakePlan(PlanText("count = 3\ngoal = 1")));
  PlayAll(server, {"device-0"});
  const auto core =
      Get(ServerCore::Create(server.storage(), server.shared_plan(), server.now(), {true}));
  const std::vector<ServerEvent> tick = {TimerFired{}};
  const ServerOutput first = core->Handle(tick, server.now());
  REQUIRE(first.commands.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK(std::get<Evaluate>(first.commands[i]).version == i + 1);
  CHECK_FALSE(first.done);
  CHECK(core->Handle(tick, server.now()).commands.empty());
  const std::vector<ServerEvent> evaluated = {Evaluated{1, 0.5, 0.5}, Evaluated{2, 0.4, 0.6},
                                              Evaluated{3, 0.3, 0.7}};
  CHECK(core->Handle(evaluated, server.now()).done);
}

TEST_CASE("The core: asks again for an evaluation whose outcome could not be stored") {
  bool broken = false;
  SqliteOptions options;
  options.before_operation = [&]() -> Result<> {
    if (!broken) return Ok{};
    return Error{ErrorCode::kIo, "the disk is full"};
  };
  const auto storage = Get(OpenSqliteStorage(":memory:", options));
  Server server(MakePlan(PlanText("count = 1\ngoal = 1")), storage.get());
  PlayAll(server, {"device-0"});
  const auto core = Get(ServerCore::Create(*storage, server.shared_plan(), server.now(), {true}));
  const std::vector<ServerEvent> tick = {TimerFired{}};
  const std::vector<ServerEvent> evaluated = {Evaluated{1, 0.5, 0.5}};
  REQUIRE(core->Handle(tick, server.now()).commands.size() == 1);
  broken = true;
  CHECK(core->Handle(evaluated, server.now()).failure.has_value());
  broken = false;
  const ServerOutput again = core->Handle(tick, server.now());
  REQUIRE(again.commands.size() == 1);
  CHECK(std::get<Evaluate>(again.commands[0]).version == 1);
  CHECK(core->Handle(tick, server.now()).commands.empty());
  CHECK(core->Handle(evaluated, server.now()).done);
  CHECK(core->Handle(tick, server.now()).commands.empty());
}

TEST_CASE("The bytes of a request: count heads and bodies of both ways once") {
  Server server(MakePlan(PlanText("count = 1\npopulation_min = 2\ngoal = 2")));
  const net::Request request = CheckInOf(true);
  RequestArrived arrived{1, Device("device-0"), request, nullptr, true};
  CHECK(server.Handle({arrived}).replies[0].may_wait);
  arrived.may_hold = false;
  const net::Response response = server.Handle({arrived}).replies[0].response;
  const Report report = Get(BuildReport(server.storage(), server.plan()));
  CHECK(report.totals.traffic.requests == 1);
  CHECK(report.totals.traffic.bytes_up == net::SerializeHead(request).size() + request.body.size());
  CHECK(report.totals.traffic.bytes_down ==
        net::SerializeHead(response).size() + response.body.size());
}

TEST_CASE("Admin orders: pause and start and stop a federation") {
  Server server(MakePlan(PlanText("count = 2\npopulation_min = 1\ngoal = 1")));
  CHECK(AdminJson(server, "POST", "pause")["state"] == "paused");
  CheckInAs(server, "device-0");
  CHECK(server.federation().round == 0);
  CHECK(AdminJson(server, "POST", "start")["state"] == "running");
  CHECK(server.federation().round == 1);
  CHECK(AdminJson(server, "GET", "clients")["clients"][0]["client"] == "device-0");
  CHECK(AdminJson(server, "POST", "stop?federation=small")["state"] == "stopped");
  CHECK(server.round(1).state == RoundState::kAbandoned);
  CHECK(CheckInAs(server, "device-0").done);
  CHECK(AdminJson(server, "POST", "start", 409)["error"]["code"] == "wrong_state");
  CHECK(AdminJson(server, "GET", "status?federation=other", 404)["error"]["code"] == "not_found");
  CHECK(AdminJson(server, "GET", "events")["events"].size() > 2);
}

}  // namespace
}  // namespace fl::server::testing
