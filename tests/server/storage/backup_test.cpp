#include "fl/server/storage/backup.h"

#include <atomic>
#include <fstream>
#include <thread>

#include "fl/tests/server/support/fake_fleet.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::server::testing {
namespace {

namespace fs = std::filesystem;
using fl::testing::TemporaryFolder;

std::unique_ptr<Storage> OpenState(const fs::path& folder) {
  fs::create_directories(folder);
  return Get(OpenSqliteStorage((folder / "state.db").string()));
}

TEST_CASE("BackUpState: the copy goes on with the same round and what was acknowledged in it") {
  const TemporaryFolder folder;
  const auto plan = MakePlan(PlanText("count = 2\npopulation_min = 2\ngoal = 2"));
  const auto storage = OpenState(folder.path() / "state");
  Server server(plan, storage.get());
  CheckInAs(server, "device-0");
  const wire::Task one = CheckInAs(server, "device-1").task.value();
  const Bytes update = GoodUpdate(*plan, one, "device-1");
  CHECK(Put(server, "device-1", one.id, update).status == 200);
  Get(BackUpState(folder.path() / "state", folder.path() / "copy"));

  const auto restored = OpenState(folder.path() / "copy");
  Server again(plan, restored.get());
  CHECK(again.round(1).accepted == 1);
  CHECK(Put(again, "device-1", one.id, update).status == 200);  // Known, and not counted again.
  CHECK(again.round(1).accepted == 1);
  PlayAll(again, {"device-0", "device-1"});
  PlayAll(server, {"device-0", "device-1"});
  CHECK(again.model() == server.model());
  CHECK(again.federation().published == 2);
}

TEST_CASE("BackUpState: bodies in files come along, also while rounds are played and they go") {
  const TemporaryFolder folder;
  const auto plan = MakePlan(PlanText("count = 200\npopulation_min = 1\ngoal = 1"));
  fs::create_directories(folder.path() / "state");
  SqliteOptions options;
  options.body_file_bytes_min = 1;
  const auto storage =
      Get(OpenSqliteStorage((folder.path() / "state" / "state.db").string(), options));
  Server server(plan, storage.get());
  std::atomic<bool> stop = false;
  std::thread player([&] {
    while (!stop && server.federation().published < 200) {
      const wire::Task task = CheckInAs(server, "device-0").task.value();
      const Bytes update = GoodUpdate(*plan, task, "device-0");
      const auto reserve =
          wire::Encode(wire::ReserveRequest{update.size(), crypto::Sha256(update)});
      const std::string target = TaskTarget(task.id);
      server.Send(Device("device-0"), {"POST", target + "/reserve", "localhost", {}, reserve});
      server.Send(Device("device-0"),
                  {"PATCH", target, "localhost", {{"Upload-Offset", "0"}}, update});
      server.Send(Device("device-0"), {"POST", target + "/commit", "localhost", {}, reserve});
    }
  });
  std::size_t with_bodies = 0;
  for (int copy = 0; copy < 20; ++copy) {
    const fs::path to = folder.path() / std::to_string(copy);
    Get(BackUpState(folder.path() / "state", to));
    const auto restored = OpenState(to);
    const auto transaction = Get(restored->Begin("small", TransactionMode::kOptimistic));
    const std::uint64_t round = Get(transaction->FindFederation("small"))->round;
    for (const TaskRow& task : Get(transaction->Cohort("small", round))) {
      const StoredBody body = Get(transaction->ReadBody(task.id));
      CHECK(body.bytes().size() == task.committed);
      if (task.committed == 0) continue;
      ++with_bodies;
      CHECK(crypto::Sha256(body.bytes()) == task.digest);
    }
  }
  stop = true;
  player.join();
  MESSAGE(with_bodies << " copies were taken of an upload under way");
}

TEST_CASE("BackUpState: copies taken while a server writes hold one moment each") {
  const TemporaryFolder folder;
  const auto plan = MakePlan(PlanText("count = 2\npopulation_min = 9\ngoal = 2"));
  const auto storage = OpenState(folder.path() / "state");
  Server server(plan, storage.get());
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> acknowledged = 0;
  std::thread writer([&] {
    // Two blobs a transaction: a copy has both or neither.
    for (std::uint64_t i = 1; !stop; ++i) {
      const auto transaction = Get(storage->Begin("small", TransactionMode::kExclusive));
      const Bytes bytes(5000, std::byte{1});
      Get(transaction->PutTensor("small", "a" + std::to_string(i), bytes));
      Get(transaction->PutTensor("small", "b" + std::to_string(i), bytes));
      Get(transaction->Commit());
      acknowledged = i;
    }
  });
  for (int copy = 0; copy < 5; ++copy) {
    const std::uint64_t before = acknowledged;
    const fs::path to = folder.path() / std::to_string(copy);
    Get(BackUpState(folder.path() / "state", to));
    const auto restored = OpenState(to);
    const auto transaction = Get(restored->Begin("small", TransactionMode::kOptimistic));
    const auto tensors = Get(transaction->Tensors("small"));
    CHECK(tensors.size() % 2 == 0);
    CHECK(tensors.size() / 2 >= before);
    CHECK(tensors.contains("b" + std::to_string(tensors.size() / 2)) == !tensors.empty());
  }
  stop = true;
  writer.join();
}

TEST_CASE("BackUpState: takes no folder in use, and needs a state folder") {
  const TemporaryFolder folder;
  CHECK(CodeOf(BackUpState(folder.path() / "none", folder.path() / "copy")) ==
        ErrorCode::kNotFound);
  CHECK(!fs::exists(folder.path() / "copy"));
  const auto storage = OpenState(folder.path() / "state");
  fs::create_directories(folder.path() / "copy");
  Get(BackUpState(folder.path() / "state", folder.path() / "copy"));  // Empty is fine.
  CHECK(CodeOf(BackUpState(folder.path() / "state", folder.path() / "copy")) ==
        ErrorCode::kInvalidArgument);
}

TEST_CASE("BackUpState: what is no database leaves no copy behind") {
  const TemporaryFolder folder;
  fs::create_directories(folder.path() / "state");
  std::ofstream(folder.path() / "state" / "state.db") << std::string(8192, 'x');
  CHECK(CodeOf(BackUpState(folder.path() / "state", folder.path() / "copy")) == ErrorCode::kIo);
  CHECK(fs::is_empty(folder.path() / "copy"));
}

}  // namespace
}  // namespace fl::server::testing
