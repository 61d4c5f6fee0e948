#include "fl/server/http/server_shell.h"

#include <thread>

#include "fl/common/net/memory_transport.h"
#include "fl/server/report/report.h"
#include "fl/tests/server/support/fake_fleet.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::server::testing {
namespace {

using fl::testing::TemporaryFolder;

constexpr Duration kTimeout = std::chrono::seconds(30);

// One device on a thread of its own; its check-ins may be held up. True when it was told that all
// is done.
bool PlayDevice(ServerShell& shell, const FederationPlan& plan, const std::string& name) {
  net::MemoryTransport transport(shell, Device(name));
  for (int turn = 0; turn < 100; ++turn) {
    net::Request check_in = CheckInOf(true);
    const auto response = transport.Exchange(check_in, kTimeout);
    if (!response || response->status != 200) return false;
    const auto answer = wire::Decode<wire::CheckInAnswer>(response->body);
    if (!answer) return false;
    if (answer->done) return true;
    if (!answer->task) continue;
    const auto put = transport.Exchange({"PUT",
                                         TaskTarget(answer->task->id),
                                         "localhost",
                                         {},
                                         GoodUpdate(plan, *answer->task, name)},
                                        kTimeout);
    if (!put || put->status != 200) return false;
  }
  return false;
}

std::vector<ServedFederation> Serve(
    const std::vector<std::shared_ptr<const FederationPlan>>& plans) {
  std::vector<ServedFederation> federations;
  federations.reserve(plans.size());
  for (const auto& plan : plans) federations.push_back({plan, nullptr});
  return federations;
}

TEST_CASE("ServerShell: serves devices on many threads with the model that one thread gives") {
  const auto plan = MakePlan(PlanText("count = 3\npopulation_min = 6\ngoal = 6"));
  const std::vector<std::string> names = {"d-0", "d-1", "d-2", "d-3", "d-4", "d-5"};
  const Logger quiet(LogLevel::kOff);
  const TemporaryFolder folder;
  const auto storage = Get(OpenSqliteStorage((folder.path() / "state.db").string()));
  const auto shell = Get(ServerShell::Create(*storage, Serve({plan}), 3, quiet));
  std::vector<char> told(names.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < names.size(); ++i) {
    threads.emplace_back([&, i] { told[i] = PlayDevice(*shell, *plan, names[i]) ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(told == std::vector<char>(names.size(), 1));
  Server alone(plan);
  PlayAll(alone, names);
  CHECK(Get(BuildReport(*storage, *plan)).model_sha256 == alone.model().ToHex());
}

TEST_CASE("ServerShell: answers what it holds when it stops") {
  const auto plan = MakePlan(PlanText("count = 1\npopulation_min = 2\ngoal = 2"));
  const Logger quiet(LogLevel::kOff);
  const auto storage = Get(OpenSqliteStorage(":memory:"));
  const auto shell = Get(ServerShell::Create(*storage, Serve({plan}), 1, quiet));
  Result<net::Response> response = Error{};
  std::thread device([&] {
    net::MemoryTransport transport(*shell, Device("device-0"));
    response = transport.Exchange(CheckInOf(true), kTimeout);
  });
  // Known means that its check-in was handled and is held now.
  while (Get(BuildReport(*storage, *plan)).totals.traffic.requests == 0) {
    const auto transaction = Get(storage->Begin("small", TransactionMode::kOptimistic));
    if (Get(transaction->FindFederation("small"))->clients == 1) break;
  }
  shell->Stop();
  device.join();
  REQUIRE(response.has_value());
  CHECK((response->status == 200 || response->status == 503));
}

TEST_CASE("ServerShell: leads each request to its federation") {
  const auto one = MakePlan(PlanText("count = 1\ngoal = 1", "", "one"));
  const auto two = MakePlan(PlanText("count = 1\ngoal = 1", "", "two"));
  const Logger quiet(LogLevel::kOff);
  const auto storage = Get(OpenSqliteStorage(":memory:"));
  const auto shell = Get(ServerShell::Create(*storage, Serve({one, two}), 2, quiet));
  net::MemoryTransport transport(*shell, Device("device-0"));
  for (const auto& plan : {one, two}) {
    wire::CheckInRequest message;
    message.codecs = KnownStages();
    message.federation = plan->name();
    const auto response = Get(transport.Exchange(
        {"POST", "/v1/check-in", "localhost", {}, wire::Encode(message)}, kTimeout));
    REQUIRE(response.status == 200);
    const auto answer = Get(wire::Decode<wire::CheckInAnswer>(response.body));
    CHECK(answer.federation == plan->name());
    CHECK(Get(transport.Exchange({"GET", "/v1/blobs/" + answer.plan.ToHex(), "localhost", {}, {}},
                                 kTimeout))
              .body == ToBytes(plan->plan().source));
    REQUIRE(answer.task.has_value());
    const auto put = Get(transport.Exchange({"PUT",
                                             TaskTarget(answer.task->id),
                                             "localhost",
                                             {},
                                             GoodUpdate(*plan, *answer.task, "device-0")},
                                            kTimeout));
    CHECK(put.status == 200);
  }
  CHECK(RefusalCode(Get(transport.Exchange(CheckInOf(), kTimeout))) == ErrorCode::kNotFound);
  net::MemoryTransport admin(*shell, Admin());
  CHECK(
      Get(admin.Exchange({"GET", "/v1/admin/status?federation=two", "localhost", {}, {}}, kTimeout))
          .status == 200);
  CHECK(Get(admin.Exchange({"GET", "/v1/admin/status", "localhost", {}, {}}, kTimeout)).status ==
        404);
}

}  // namespace
}  // namespace fl::server::testing
