#include "fl/compression/lattice.h"

#include <algorithm>
#include <cmath>

#include "fl/server/core/version_models.h"
#include "fl/server/publish/stride_control.h"
#include "fl/tests/server/support/play_to.h"
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

// The same with a step that the server chooses, bounded or not.
const std::string kAuto =
    "name = \"small\"\nseed = 7\n[model]\ninput = [40]\nlayers = [\"dense 30\"]\n"
    "[rounds]\ncount = 40\npopulation_min = 2\ngoal = 2\nmin_report = 2\n"
    "[aggregation]\nserver_step = 0.01\npublish = \"lattice\"\nlattice_step = \"auto\"\n"
    "released = \"average\"\n";
// Rounds until the sum of steps passes a stride.
constexpr std::uint64_t kMoved = 30;

StrideState StrideOf(Server& server) {
  const auto transaction = Get(server.storage().Begin("small", TransactionMode::kOptimistic));
  return StrideStateOf(ToFloats(Get(transaction->Tensors("small")).at("publisher/stride")));
}

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

TEST_CASE("A lattice: brings a client of any version to the newest by one change") {
  std::string text;
  SUBCASE("of a step that the plan says") {
    text = kPlan;
  }
  SUBCASE("of a step that the server chooses") {
    text = kAuto;
  }
  SUBCASE("of a step that the server chooses within a bound") {
    text = kAuto + "downlink_bytes = \"900B\"\n";
  }
  Server server(MakePlan(text));
  std::vector<std::vector<float>> held = {server.model_values()};
  for (std::uint64_t version = 1; version <= 5; ++version) {
    PlayTo(server, kFleet, version);
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
  PlayTo(server, kFleet, 3);
  const wire::CheckInAnswer answer = CheckInAs(server, "device-0");
  REQUIRE(answer.task.has_value());
  CHECK(answer.task->model.change_from == 0);
  CHECK(answer.task->model.blob_bytes < server.plan().layout().total() * sizeof(float) / 2);
  CHECK(Fetch(server, answer.task->model, start) == server.model_values());
}

TEST_CASE("A lattice: loses nothing of what it rounds away") {
  Server server(MakePlan(kPlan));
  PlayTo(server, kFleet, 5);
  const auto transaction = Get(server.storage().Begin("small", TransactionMode::kOptimistic));
  const auto tensors = Get(transaction->Tensors("small"));
  const std::vector<float> wanted = ToFloats(tensors.at("publisher/wanted"));
  const auto row = Get(transaction->FindModel("small", 5)).value();
  const auto published = Get(ReadModelValues(*transaction, server.plan(), row.digest));
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    CHECK(std::abs(wanted[i] - published[i]) <= 0.3F + 1e-5F);
  }
}

TEST_CASE("A lattice: moves by the stride that the server chose") {
  Server server(MakePlan(kAuto));
  PlayTo(server, kFleet, kMoved);
  const StrideState state = StrideOf(server);
  CHECK(state.shift > 0);
  CHECK(state.published == state.shift);
  const Lattice::Point point = Get(server.plan().lattice()->PointOf(server.model_values()));
  CHECK(std::ranges::any_of(point, [](std::int32_t steps) { return steps != 0; }));
  for (const std::int32_t steps : point) CHECK(steps % (1 << state.shift) == 0);
}

TEST_CASE("A lattice: grows coarser until a usual visit fits the plan's bytes") {
  Server free(MakePlan(kAuto));
  PlayTo(free, kFleet, kMoved);
  const std::uint64_t paid = CheckInAs(free, "device-0", kMoved - 1).task->model.blob_bytes;
  const std::uint64_t bound = paid - paid / 4;
  Server bounded(MakePlan(kAuto + "downlink_bytes = " + std::to_string(bound) + "\n"));
  for (std::uint64_t version = 1; version <= kMoved; ++version) {
    PlayTo(bounded, kFleet, version);
    const auto source = CheckInAs(bounded, "device-0", version - 1).task->model;
    CHECK(source.change_from == version - 1);
    CHECK(source.blob_bytes <= bound);
  }
  CHECK(StrideOf(bounded).published > StrideOf(bounded).shift);
  CHECK(StrideOf(free).published == StrideOf(free).shift);
}

TEST_CASE("A lattice: survives a restart at every step with the same bits") {
  std::string text;
  SUBCASE("where the plan says the step") {
    text = kPlan;
  }
  SUBCASE("where the server chooses it") {
    text = kAuto + "downlink_bytes = 60\n";
  }
  const auto plan = MakePlan(text);
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
  const std::uint64_t last = server.federation().version;
  REQUIRE(last >= 6);
  Server undisturbed(plan);
  PlayTo(undisturbed, kFleet, last);
  CHECK(server.model() == undisturbed.model());
  const auto released = Get(ReadVersionModels(*storage, *plan, last)).released;
  CHECK(released == Get(ReadVersionModels(undisturbed.storage(), *plan, last)).released);
}

}  // namespace
}  // namespace fl::server::testing
