#pragma once

#include <cstdint>

#include "fl/server/storage/internal/sqlite_connection.h"

namespace fl::server::internal {

inline constexpr std::uint64_t kSchemaVersion = 7;

// Makes the tables of a new database and migrates an older one, in one transaction. kWrongVersion
// when it is newer than this program.
Result<> PrepareSchema(SqliteConnection& connection);

}  // namespace fl::server::internal
