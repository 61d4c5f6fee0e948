#include "fl/tests/server/support/fake_fleet.h"

namespace fl::server::testing {
namespace {

// What a batch of one request says that it did.
BatchAccount AccountOf(Server& server, const std::string& device, net::Request request) {
  RequestArrived arrived;
  arrived.peer = Device(device);
  arrived.request = std::move(request);
  return server.core().Handle(std::vector<ServerEvent>{std::move(arrived)}, server.now()).account;
}

std::vector<RoundState> StatesOf(const BatchAccount& account) {
  std::vector<RoundState> states;
  states.reserve(account.rounds.size());
  for (const RoundRow& round : account.rounds) states.push_back(round.state);
  return states;
}

TEST_CASE("BatchAccount: names each state that a round comes to, also two in one batch") {
  Server server(MakePlan(PlanText("count = 2\npopulation_min = 1\ngoal = 1")));
  const BatchAccount opened = AccountOf(server, "device-0", CheckInOf());
  CHECK(StatesOf(opened) == std::vector{RoundState::kSelecting, RoundState::kCollecting});
  CHECK(opened.standing.round == 1);
  CHECK(opened.standing.clients == 1);
  const wire::Task task = CheckInAs(server, "device-0").task.value();
  const net::Request put{
      "PUT", TaskTarget(task.id), "localhost", {}, GoodUpdate(server.plan(), task, "device-0")};
  const BatchAccount accepted = AccountOf(server, "device-0", put);
  CHECK(accepted.accepted == std::map<wire::TaskKind, std::uint64_t>{{wire::TaskKind::kTrain, 1}});
  CHECK(StatesOf(accepted) == std::vector{RoundState::kFolding});
  CHECK(accepted.standing.accepted == 1);
  CHECK(AccountOf(server, "device-0", put).accepted.empty());

  // The fold is done: the round is published, and in the same batch the next one opens.
  const auto result =
      std::make_shared<const Result<RoundResult>>(RunFold(server.storage(), server.plan(), 1));
  const BatchAccount published =
      server.core().Handle(std::vector<ServerEvent>{FoldDone{1, result}}, server.now()).account;
  CHECK(StatesOf(published) ==
        std::vector{RoundState::kPublished, RoundState::kSelecting, RoundState::kCollecting});
  CHECK(published.rounds.front().number == 1);
  CHECK(published.rounds.front().version == 1);
  CHECK(published.rounds.back().number == 2);
}

TEST_CASE("BatchAccount: counts refusals and bytes, and says when all is over") {
  Server server(MakePlan(PlanText("count = 1\npopulation_min = 1\ngoal = 1")));
  const net::Request unknown{"PUT", TaskTarget(5), "localhost", {}, ToBytes("x")};
  const BatchAccount refused = AccountOf(server, "device-0", unknown);
  CHECK(refused.refused == std::map<ErrorCode, std::uint64_t>{{ErrorCode::kUnknownTask, 1}});
  CHECK(refused.traffic.body_bytes_up == 1);
  CHECK(refused.traffic.bytes_up == net::SerializeHead(unknown).size() + 1);
  const wire::Task task = CheckInAs(server, "device-0").task.value();
  Put(server, "device-0", task.id, GoodUpdate(server.plan(), task, "device-0"));
  Server again(server.shared_plan(), &server.storage());  // What stands already is no news.
  CHECK(AccountOf(again, "device-0", CheckInOf()).states.empty());
  CHECK(AccountOf(again, "device-0", CheckInOf()).standing.state == FederationState::kDone);
}

}  // namespace
}  // namespace fl::server::testing
