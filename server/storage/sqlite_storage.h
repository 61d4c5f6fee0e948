#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "fl/server/storage/storage.h"

namespace fl::server {

struct SqliteOptions {
  int busy_timeout_ms = 5000;  // How long an exclusive transaction waits for its turn.
  // Bodies of updates of at least so many bytes lie in files of the folder PATH-bodies.
  std::uint64_t body_file_bytes_min = 64U << 10;
  // Called before each statement and on both sides of each commit; an error is what the operation
  // then ends with. For tests that fail the Nth operation.
  std::function<Result<>()> before_operation;
};

// State rows in one SQLite database: a file (WAL, synchronous=FULL: what is committed survives a
// power loss) with large bodies of updates in files of a folder beside it, or ":memory:".
// Concurrent transactions on a file have connections of their own; on ":memory:" they take turns.
// Errors: kIo with the path; kWrongVersion when a newer program wrote the file; an older schema is
// migrated. Thread safety: shared objects safe.
Result<std::unique_ptr<Storage>> OpenSqliteStorage(const std::string& path,
                                                   SqliteOptions options = {});

// The folder of the files in which a database's large bodies lie; it is made with the first one.
std::filesystem::path BodyFolderOf(const std::filesystem::path& database);

}  // namespace fl::server
