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
