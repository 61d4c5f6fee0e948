#pragma once

#include <functional>
#include <memory>
#include <string>

#include "fl/server/storage/storage.h"

namespace fl::server {

struct SqliteOptions {
  int busy_timeout_ms = 5000;  // How long an exclusive transaction waits for its turn.
  // Called before each statement and on both sides of each commit; an error is what the operation
  // then ends with. For tests that fail the Nth operation.
  std::function<Result<>()> before_operation;
};

// State rows in one SQLite database: a file (WAL, synchronous=FULL: what is committed survives a
// power loss), or ":memory:". Concurrent transactions on a file have connections of their own; on
// ":memory:" they take turns. Errors: kIo with the path; kWrongVersion when a newer program wrote
// the file; an older schema is migrated. Thread safety: shared objects safe.
Result<std::unique_ptr<Storage>> OpenSqliteStorage(const std::string& path,
                                                   SqliteOptions options = {});

}  // namespace fl::server
