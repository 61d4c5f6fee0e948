#include <cmath>

#include "fl/common/wire/model_change.h"
#include "fl/server/core/version_models.h"
#include "fl/tests/server/support/play_to.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::server::testing {
namespace {

using fl::testing::TemporaryFolder;

const std::vector<std::string> kFleet = {"device-0", "device-1"};
const std::string kPlan =
    "name = \"small\"\nseed = 7\n[model]\ninput = [40]\nlayers = [\"dense 30\"]\n"
    "[rounds]\ncount = 6\npopulation_min = 2\ngoal = 2\nmin_report = 2\n"
    "[aggregation]\npublish = \"half\"\nreleased = \"average\"\n";

// Half of an fp32 model, and what a blob's head and zlib take.
std::uint64_t HalfBytes(const FederationPlan& plan) {
  return plan.layout().total() * 2 + 64;
}

// What a device that holds the models of `held` by version makes of the blob that a task names.
std::vector<float> Fetch(Server& server, const wire::ModelSource& source,
                         const std::vector<std::vector<float>>& held) {
  REQUIRE(source.blob.has_value());
  REQUIRE(source.change_from.has_value());
  const net::Response response = server.Send(
      Device("device-0"), {"GET", "/v1/blobs/" + source.blob->ToHex(), "localhost", {}, {}});
  REQUIRE(response.status == 200);
  CHECK(response.body.size() == source.blob_bytes);
  std::vector<float> model(server.plan().layout().total());
  const std::vector<float> zeros(model.size());
  Get(wire::ApplyModelChange(
      response.body, *source.change_from == 0 ? zeros : held.at(*source.change_from), model));
  CHECK(crypto::Sha256(FromFloats(model)) == source.digest);
  return model;
}

TEST_CASE("Half: a model travels in two bytes a value and each client gets its bits") {
  Server server(MakePlan(kPlan));
  std::vector<std::vector<float>> held = {server.model_values()};
  for (std::uint64_t version = 1; version <= 4; ++version) {
    PlayTo(server, kFleet, version);
    held.push_back(server.model_values());
    for (const std::optional<std::uint64_t> from :
         {std::optional<std::uint64_t>(), std::optional(version - 1),
          std::optional<std::uint64_t>(0)}) {
      const auto source = CheckInAs(server, "device-0", from).task->model;
      CHECK(source.blob_bytes <= HalfBytes(server.plan()));
      CHECK(Fetch(server, source, held) == held.back());
    }
  }
}

TEST_CASE("Half: what rounding leaves out stays with the server") {
  Server server(MakePlan(kPlan));
  PlayTo(server, kFleet, 4);
  const std::vector<float> published = server.model_values();
  const auto transaction = Get(server.storage().Begin("small", TransactionMode::kOptimistic));
  const std::vector<float> wanted =
      ToFloats(Get(transaction->Tensors("small")).at("publisher/wanted"));
  CHECK(wanted != published);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    CHECK(std::abs(wanted[i] - published[i]) <= std::abs(wanted[i]) / 256);
  }
}

TEST_CASE("Half: a released model is sent in two bytes a value too") {
  Server server(MakePlan(kPlan + "[evaluation]\nclients = 2\n"));
  PlayTo(server, kFleet, 6);
  const auto models = Get(ReadVersionModels(server.storage(), server.plan(), 6));
  REQUIRE(models.released.has_value());
  const auto answer = CheckInAs(server, "device-0");
  REQUIRE(answer.task.has_value());
  CHECK(answer.task->model.blob_bytes <= HalfBytes(server.plan()));
  CHECK(Fetch(server, answer.task->model, {}) == *models.released);
}

TEST_CASE("Half: survives a restart at every step with the same bits") {
  const auto plan = MakePlan(kPlan);
  Server undisturbed(plan);
  PlayTo(undisturbed, kFleet, 6);
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
  REQUIRE(server.federation().version == 6);
  CHECK(server.model() == undisturbed.model());
}

}  // namespace
}  // namespace fl::server::testing
