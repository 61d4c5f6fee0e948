#include "fl/server/publish/released_model.h"

#include <filesystem>

#include "fl/common/nn/model_file.h"
#include "fl/server/core/version_models.h"
#include "fl/server/report/report.h"
#include "fl/tests/server/support/fake_fleet.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::server::testing {
namespace {

using fl::testing::TemporaryFolder;

const std::vector<std::string> kFleet = {"device-0", "device-1"};
const std::string kRounds = "count = 4\npopulation_min = 2\ngoal = 2\nmin_report = 2";
const std::string kAverage = "[aggregation]\nreleased = \"average\"\naverage_decay = 0.3\n";

ModelRow NewestModel(Server& server) {
  const std::uint64_t version = server.federation().version;
  const auto transaction =
      Get(server.storage().Begin(server.plan().name(), TransactionMode::kOptimistic));
  return Get(transaction->FindModel(server.plan().name(), version)).value();
}

std::vector<float> Released(Server& server) {
  const VersionModels models =
      Get(ReadVersionModels(server.storage(), server.plan(), server.federation().version));
  return models.released.value_or(models.published);
}

// Both devices answer to the round that opens.
void PlayRound(Server& server) {
  const std::uint64_t before = server.federation().version;
  for (int turn = 0; turn < 10 && server.federation().version == before; ++turn) {
    for (const std::string& device : kFleet) {
      const wire::CheckInAnswer answer = CheckInAs(server, device);
      if (!answer.task) continue;
      const net::Response response =
          Put(server, device, answer.task->id, GoodUpdate(server.plan(), *answer.task, device));
      CHECK(response.status == 200);
    }
  }
}

TEST_CASE("AverageDecay: starts at nothing and grows to its limit") {
  CHECK(AverageDecay(1, 0.85) == 0.0);
  CHECK(AverageDecay(2, 0.85) == 1.0 / 5.0);
  CHECK(AverageDecay(5, 0.85) == 0.5);
  CHECK(AverageDecay(100, 0.85) == 0.85);
  CHECK(AverageDecay(100, 0.0) == 0.0);
}

TEST_CASE("AverageModel: mixes the versions coordinate by coordinate") {
  const std::vector<float> average = {1.0F, -2.0F};
  const std::vector<float> wanted = {3.0F, 2.0F};
  CHECK(AverageModel(average, wanted, 0.75) == std::vector<float>{1.5F, -1.0F});
  CHECK(AverageModel(average, wanted, 0.0) == wanted);
}

TEST_CASE("A released average: is that of all versions and leaves the published ones alone") {
  Server plain(MakePlan(PlanText(kRounds)));
  PlayAll(plain, kFleet);
  Server server(MakePlan(PlanText(kRounds, kAverage)));
  std::vector<float> expected = server.model_values();
  for (std::uint64_t version = 1; version <= 4; ++version) {
    PlayRound(server);
    REQUIRE(server.federation().version == version);
    expected = AverageModel(expected, server.model_values(), AverageDecay(version, 0.3));
    CHECK(Released(server) == expected);
  }
  CHECK(server.model() == plain.model());
  CHECK(NewestModel(server).released != server.model());
  CHECK(NewestModel(plain).released == plain.model());
}

TEST_CASE("A released average: is what is exported and named in the report") {
  Server server(MakePlan(PlanText(kRounds, kAverage)));
  PlayAll(server, kFleet);
  const Digest released = NewestModel(server).released;
  CHECK(Get(BuildReport(server.storage(), server.plan())).model_sha256 == released.ToHex());
  const nn::ModelFile file =
      Get(nn::ParseModelFile(Get(ExportModel(server.storage(), server.plan()))));
  CHECK(std::get<nn::FloatModel>(file.model).parameters == Released(server));
}

TEST_CASE("A released average: is measured beside the published model") {
  Server server(MakePlan(PlanText(kRounds, kAverage)));
  PlayAll(server, kFleet);
  const VersionModels models = Get(ReadVersionModels(server.storage(), server.plan(), 4));
  const auto measure = [](std::span<const float> model) -> Result<Quality> {
    return Quality{double{model[0]}, double{model[1]}};
  };
  server.Handle({Get(EvaluateVersion(models, measure))});
  const Report report = Get(BuildReport(server.storage(), server.plan()));
  CHECK(report.final_loss == double{(*models.released)[0]});
  CHECK(report.final_accuracy_published == double{models.published[1]});
  // What the clients measured is of the published model alone, which version 1 still releases.
  CHECK(report.rounds[0].accuracy.has_value());
  CHECK_FALSE(report.rounds[1].accuracy.has_value());
  CHECK(report.rounds[1].accuracy_published.has_value());
}

TEST_CASE("A released average: is what a deploy task sends") {
  const std::string passes =
      "[deployment]\n[[deployment.pass]]\npass = \"ptq_static\"\n"
      "[[deployment.pass]]\npass = \"verify\"\n";
  Server server(MakePlan(PlanText(kRounds, kAverage + passes)));
  for (int turn = 0; turn < 20; ++turn) {
    for (const std::string& device : kFleet) {
      const wire::CheckInAnswer answer = CheckInAs(server, device, server.federation().version);
      if (!answer.task) continue;
      if (answer.task->kind == wire::TaskKind::kDeploy) {
        CHECK(answer.task->model.digest == NewestModel(server).released);
        REQUIRE(answer.task->model.blob.has_value());
      }
      const net::Response response =
          Put(server, device, answer.task->id, GoodUpdate(server.plan(), *answer.task, device));
      CHECK(response.status == 200);
    }
  }
  CHECK(server.federation().state == FederationState::kDone);
}

TEST_CASE("A released average: survives a restart after each version") {
  const auto plan = MakePlan(PlanText(kRounds, kAverage));
  Server undisturbed(plan);
  PlayAll(undisturbed, kFleet);
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "state.db").string();
  for (int life = 0; life < 40; ++life) {
    const auto storage = Get(OpenSqliteStorage(path));
    Server server(plan, storage.get());
    const std::string& device = kFleet[static_cast<std::size_t>(life) % 2];
    const wire::CheckInAnswer answer = CheckInAs(server, device);
    if (!answer.task) continue;
    Put(server, device, answer.task->id, GoodUpdate(*plan, *answer.task, device));
  }
  const auto storage = Get(OpenSqliteStorage(path));
  Server server(plan, storage.get());
  REQUIRE(server.federation().version == 4);
  CHECK(NewestModel(server).released == NewestModel(undisturbed).released);
  CHECK(Released(server) == Released(undisturbed));
}

}  // namespace
}  // namespace fl::server::testing
