#include "fl/compression/lattice.h"

#include <cmath>

#include "fl/server/core/version_models.h"
#include "fl/tests/server/support/fake_fleet.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::server::testing {
namespace {

using fl::testing::TemporaryFolder;

const std::vector<std::string> kFleet = {"device-0", "device-1"};
// A model that is larger than any change to it.
const std::string kPlan =
    "name = \"small\"\nseed = 7\n[model]\ninput = [40]\nlayers = [\"dense 30\"]\n"
    "[rounds]\ncount = 6\npopulation_min = 2\ngoal = 2\nmin_report = 2\n"
    "[aggregation]\npublish = \"lattice\"\nlattice_step = 0.5\nreleased = \"average\"\n";

// What a device that holds `held` makes of the change that a task names.
std::vector<float> Fetch(Server& server, const wire::ModelSource& source,
                         const std::vector<float>& held) {
  REQUIRE(source.blob.has_value());
  const net::Response response = server.Send(
      Device("device-0"), {"GET", "/v1/blobs/" + source.blob->ToHex(), "localhost", {}, {}});
  REQUIRE(response.status == 200);
  const Lattice& lattice = *server.plan().lattice();
  const auto change = Get(DecodeLatticeChange(response.body, server.plan().layout()));
  const auto point = Get(ApplyChange(Get(lattice.PointOf(held)), change));
  return lattice.ModelAt(point, change.fineness);
}

// Plays until the version is published.
void PlayTo(Server& server, std::uint64_t version) {
  for (int turn = 0; turn < 50 && server.federation().version < version; ++turn) {
    for (const std::string& device : kFleet) {
      if (server.federation().version == version) return;
      const wire::CheckInAnswer answer = CheckInAs(server, device);
      if (!answer.task) continue;
      const net::Response response =
          Put(server, device, answer.task->id, GoodUpdate(server.plan(), *answer.task, device));
      CHECK(response.status == 200);
    }
  }
  REQUIRE(server.federation().version == version);
}

TEST_CASE("A lattice: brings a client of any version to the newest by one change") {
  Server server(MakePlan(kPlan));
  std::vector<std::vector<float>> held = {server.model_values()};
  for (std::uint64_t version = 1; version <= 5; ++version) {
    PlayTo(server, version);
    held.push_back(server.model_values());
  }
  for (std::uint64_t from = 0; from < 5; ++from) {
    const wire::CheckInAnswer answer = CheckInAs(server, "device-0", from);
    REQUIRE(answer.task.has_value());
    const wire::ModelSource source = answer.task->model;
    CHECK(source.change_from == from);
    CHECK(Fetch(server, source, held[from]) == held[5]);
    // The same blob for every client of that version.
    CHECK(CheckInAs(server, "device-1", from).task->model == source);
  }
}

TEST_CASE("A lattice: sends a newcomer the change from version 0") {
  Server server(MakePlan(kPlan));
  const std::vector<float> start = server.model_values();
  PlayTo(server, 3);
  const wire::CheckInAnswer answer = CheckInAs(server, "device-0");
  REQUIRE(answer.task.has_value());
  CHECK(answer.task->model.change_from == 0);
  CHECK(answer.task->model.blob_bytes < server.plan().layout().total() * sizeof(float) / 2);
  CHECK(Fetch(server, answer.task->model, start) == server.model_values());
}

TEST_CASE("A lattice: loses nothing of what it rounds away") {
  Server server(MakePlan(kPlan));
  PlayTo(server, 5);
  const auto transaction = Get(server.storage().Begin("small", TransactionMode::kOptimistic));
  const auto tensors = Get(transaction->Tensors("small"));
  const std::vector<float> wanted = ToFloats(tensors.at("publisher/wanted"));
  const auto row = Get(transaction->FindModel("small", 5)).value();
  const auto published = Get(ReadModelValues(*transaction, server.plan(), row.digest));
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    CHECK(std::abs(wanted[i] - published[i]) <= 0.3F + 1e-5F);
  }
}

TEST_CASE("A lattice: survives a restart at every step with the same bits") {
  const auto plan = MakePlan(kPlan);
  Server undisturbed(plan);
  PlayTo(undisturbed, 6);
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
  const auto released = Get(ReadVersionModels(*storage, *plan, 6)).released;
  CHECK(released == Get(ReadVersionModels(undisturbed.storage(), *plan, 6)).released);
}

}  // namespace
}  // namespace fl::server::testing
