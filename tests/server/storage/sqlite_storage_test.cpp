#include "fl/server/storage/sqlite_storage.h"

#include <doctest/doctest.h>
#include <sqlite3.h>

#include "fl/tests/server/storage/storage_suite.h"
#include "fl/tests/support/result.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::server::testing {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using fl::testing::TemporaryFolder;

// Storages in memory, or in files of one folder.
StorageFactory InMemory() {
  return [] { return Get(OpenSqliteStorage(":memory:")); };
}
StorageFactory InFolder(const TemporaryFolder& folder) {
  return [&folder, number = 0]() mutable {
    return Get(OpenSqliteStorage((folder.path() / std::to_string(++number)).string()));
  };
}

void ExecuteOn(const std::string& path, const char* sql) {
  sqlite3* database = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &database) == SQLITE_OK);
  REQUIRE(sqlite3_exec(database, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(database);
}

TEST_CASE("SqliteStorage in memory: does what every backend must do") {
  CheckRowsRoundTrip(InMemory());
  CheckUncommittedIsNothing(InMemory());
  CheckChunksAndBlobs(InMemory());
  CheckCounters(InMemory());
  CheckWatch(InMemory());
}

TEST_CASE("SqliteStorage in a file: does what every backend must do") {
  const TemporaryFolder folder;
  const StorageFactory make = InFolder(folder);
  CheckRowsRoundTrip(make);
  CheckUncommittedIsNothing(make);
  CheckChunksAndBlobs(make);
  CheckCounters(make);
  CheckWatch(make);
  CheckConflict(make);
}

TEST_CASE("SqliteStorage: sees the commits of another storage over the same file") {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "state.db").string();
  const auto one = Get(OpenSqliteStorage(path));
  const auto two = Get(OpenSqliteStorage(path));
  int calls = 0;
  one->Watch("fed", [&] { ++calls; });
  Get(one->PollChanges());
  CHECK(calls == 0);
  const auto transaction = Get(two->Begin("fed", TransactionMode::kExclusive));
  FederationRow row;
  row.name = "fed";
  Get(transaction->Put(row));
  Get(transaction->Commit());
  Get(one->PollChanges());
  CHECK(calls == 1);
  Get(one->PollChanges());
  CHECK(calls == 1);
}

TEST_CASE("SqliteStorage: refuses a file of a newer schema") {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "state.db").string();
  ExecuteOn(path, "PRAGMA user_version = 99");
  CHECK(CodeOf(OpenSqliteStorage(path)) == ErrorCode::kWrongVersion);
}

TEST_CASE("SqliteStorage: migrates a file of an older schema") {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "state.db").string();
  Get(OpenSqliteStorage(path));
  ExecuteOn(path,
            "DROP TABLE events; DROP TABLE changes; DROP TABLE offenders; DROP TABLE refused;"
            "DROP TABLE bodies; ALTER TABLE tasks DROP COLUMN attempt;"
            "ALTER TABLE models DROP COLUMN released;"
            "ALTER TABLE models DROP COLUMN loss_published;"
            "ALTER TABLE models DROP COLUMN accuracy_published;"
            "ALTER TABLE models DROP COLUMN clients_examples;"
            "ALTER TABLE models DROP COLUMN clients_loss_sum;"
            "ALTER TABLE models DROP COLUMN clients_correct;"
            "ALTER TABLE federations DROP COLUMN parameters;"
            "ALTER TABLE rounds DROP COLUMN parameters;"
            "CREATE TABLE changes (federation TEXT NOT NULL, base INTEGER NOT NULL, target INTEGER "
            "NOT NULL, blob BLOB NOT NULL, bytes INTEGER NOT NULL,"
            "PRIMARY KEY (federation, base, target)) WITHOUT ROWID;"
            "INSERT INTO changes VALUES ('fed', 1, 2, zeroblob(32), 5);"
            "INSERT INTO models VALUES ('fed', 2, x'07', 24, 1, 0.5, 0.25);"
            "PRAGMA user_version = 1");
  const auto storage = Get(OpenSqliteStorage(path));
  const auto transaction = Get(storage->Begin("fed", TransactionMode::kExclusive));
  CHECK(CodeOf(transaction->Add(EventRow{"fed", {}, 1, "text"})) == ErrorCode::kOk);
  CHECK(Get(transaction->FindChange("fed", 1, 2, Edition::kPublished))->bytes == 5);
  const ModelRow model = Get(transaction->FindModel("fed", 2)).value();
  CHECK(model.released == model.digest);
  CHECK(model.accuracy_published == 0.25);
  CHECK(model.clients_examples == 0);
  CHECK(Get(transaction->Offenders("fed")).empty());
}

// A database in a folder of its own, all of whose bodies lie in files.
struct InFiles {
  std::unique_ptr<Storage> Open(std::uint64_t bytes_min = 1) const {
    SqliteOptions options;
    options.body_file_bytes_min = bytes_min;
    return Get(OpenSqliteStorage(path().string(), options));
  }
  std::filesystem::path path() const { return folder.path() / "state.db"; }
  std::size_t files() const {
    std::error_code failed;
    const std::filesystem::directory_iterator first(BodyFolderOf(path()), failed);
    return static_cast<std::size_t>(std::distance(first, {}));
  }
  TemporaryFolder folder;
};

TaskRow TaskOf(std::uint64_t id, std::uint64_t round = 1) {
  TaskRow task;
  task.id = id;
  task.federation = "fed";
  task.round = round;
  task.client = "client-" + std::to_string(id);
  return task;
}

// One transaction.
void In(Storage& storage, const std::function<void(Transaction&)>& work) {
  const auto transaction = Get(storage.Begin("fed", TransactionMode::kExclusive));
  FederationRow row;
  row.name = "fed";
  Get(transaction->Put(row));
  work(*transaction);
  Get(transaction->Commit());
}

Bytes BodyOf(Storage& storage, std::uint64_t task) {
  const auto transaction = Get(storage.Begin("fed", TransactionMode::kOptimistic));
  const StoredBody body = Get(transaction->ReadBody(task));
  return {body.bytes().begin(), body.bytes().end()};
}

TEST_CASE("SqliteStorage with bodies in files: does what every backend must do") {
  const TemporaryFolder folder;
  int number = 0;
  const StorageFactory make = [&] {
    SqliteOptions options;
    options.body_file_bytes_min = 1;
    return Get(OpenSqliteStorage((folder.path() / std::to_string(++number)).string(), options));
  };
  CheckUncommittedIsNothing(make);
  CheckChunksAndBlobs(make);
  CheckConflict(make);
}

TEST_CASE("SqliteStorage with bodies in files: those of a round share one, gone with the last") {
  const InFiles in;
  auto storage = in.Open();
  const Bytes one(5000, std::byte{1});
  const Bytes two(3000, std::byte{2});
  In(*storage, [&](Transaction& transaction) {
    Get(transaction.PutChunk(TaskOf(1), one.size(), one));
    Get(transaction.PutChunk(TaskOf(2), two.size(), two));
    Get(transaction.PutChunk(TaskOf(3, 2), two.size(), two));
  });
  CHECK(in.files() == 2);
  storage = in.Open();
  CHECK(BodyOf(*storage, 1) == one);
  CHECK(BodyOf(*storage, 2) == two);
  In(*storage, [](Transaction& transaction) { Get(transaction.DropBody(1)); });
  CHECK(in.files() == 2);
  CHECK(BodyOf(*storage, 2) == two);
  In(*storage, [](Transaction& transaction) { Get(transaction.DropBody(2)); });
  CHECK(in.files() == 1);
  CHECK(BodyOf(*storage, 3) == two);
}

TEST_CASE("SqliteStorage with bodies in files: what was read stays, what was not committed goes") {
  const InFiles in;
  auto storage = in.Open();
  const Bytes body(70000, std::byte{7});
  In(*storage,
     [&](Transaction& transaction) { Get(transaction.PutChunk(TaskOf(1), body.size(), body)); });
  StoredBody kept;
  {
    const auto transaction = Get(storage->Begin("fed", TransactionMode::kOptimistic));
    kept = Get(transaction->ReadBody(1));
  }
  In(*storage, [](Transaction& transaction) { Get(transaction.DropBody(1)); });
  CHECK(in.files() == 0);
  kept.Release();
  CHECK(std::ranges::equal(kept.bytes(), body));
  {
    const auto transaction = Get(storage->Begin("fed", TransactionMode::kExclusive));
    Get(transaction->PutChunk(TaskOf(2), body.size(), body));
  }
  CHECK(BodyOf(*storage, 2).empty());
  CHECK(in.files() == 1);
  storage.reset();
  CHECK(BodyOf(*in.Open(), 2).empty());
  CHECK(in.files() == 0);
}

TEST_CASE("SqliteStorage with bodies in files: another storage leaves alone what one still fills") {
  const InFiles in;
  const auto one = in.Open();
  const Bytes body(100, std::byte{7});
  {
    const auto transaction = Get(one->Begin("fed", TransactionMode::kExclusive));
    Get(transaction->PutChunk(TaskOf(1), body.size(), body));
  }
  const auto two = in.Open();
  CHECK(in.files() == 1);
  In(*one,
     [&](Transaction& transaction) { Get(transaction.PutChunk(TaskOf(1), body.size(), body)); });
  CHECK(in.files() == 1);
  CHECK(BodyOf(*two, 1) == body);
}

TEST_CASE("SqliteStorage with bodies in files: one that was begun in rows goes on in rows") {
  const InFiles in;
  TaskRow task = TaskOf(1);
  In(*in.Open(1000),
     [&](Transaction& transaction) { Get(transaction.PutChunk(task, 4, Bytes(3, std::byte{1}))); });
  task.committed = 3;
  const auto storage = in.Open();
  In(*storage,
     [&](Transaction& transaction) { Get(transaction.PutChunk(task, 4, Bytes(1, std::byte{1}))); });
  CHECK(in.files() == 0);
  CHECK(BodyOf(*storage, 1) == Bytes(4, std::byte{1}));
}

TEST_CASE("SqliteStorage with bodies in files: a file that is missing or cut short is told") {
  const InFiles in;
  const auto storage = in.Open();
  In(*storage,
     [](Transaction& transaction) { Get(transaction.PutChunk(TaskOf(1), 9000, Bytes(9000))); });
  const auto file = std::filesystem::directory_iterator(BodyFolderOf(in.path()))->path();
  const auto read = [](Storage& from) {
    return Get(from.Begin("fed", TransactionMode::kOptimistic))->ReadBody(1);
  };
  std::filesystem::resize_file(file, 8000);
  const auto cut = read(*storage);
  REQUIRE_FALSE(cut.has_value());
  CHECK(cut.error().message.find(file.string() + ": expected 9000 bytes at 0, found") == 0);
  std::filesystem::remove(file);
  CHECK(CodeOf(read(*in.Open())) == ErrorCode::kNotFound);
}

TEST_CASE("SqliteStorage: reports a path that cannot be opened") {
  CHECK(CodeOf(OpenSqliteStorage("/no/such/folder/state.db")) == ErrorCode::kIo);
}

TEST_CASE("SqliteStorage: an exclusive transaction that waits too long ends in a conflict") {
  const TemporaryFolder folder;
  SqliteOptions options;
  options.busy_timeout_ms = 1;
  const auto storage = Get(OpenSqliteStorage((folder.path() / "state.db").string(), options));
  const auto first = Get(storage->Begin("fed", TransactionMode::kExclusive));
  CHECK(CodeOf(storage->Begin("fed", TransactionMode::kExclusive)) == ErrorCode::kConflict);
}

}  // namespace
}  // namespace fl::server::testing
