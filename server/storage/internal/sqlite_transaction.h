#pragma once

#include <functional>
#include <memory>
#include <string>

#include "fl/server/storage/internal/body_files.h"
#include "fl/server/storage/internal/sqlite_connection.h"

namespace fl::server::internal {

// A transaction on a connection that it has to itself. `release` gives the connection back when it
// ends; it is told whether something was committed. `files`: where large bodies lie; null: in rows.
using ReleaseConnection = std::function<void(std::unique_ptr<SqliteConnection>, bool committed)>;
Result<std::unique_ptr<Transaction>> BeginSqliteTransaction(
    std::unique_ptr<SqliteConnection> connection, std::string federation, TransactionMode mode,
    BodyFiles* files, ReleaseConnection release);

// Does a row refer to a body in the file?
Result<bool> HasBody(SqliteConnection& connection, std::uint64_t file);

}  // namespace fl::server::internal
