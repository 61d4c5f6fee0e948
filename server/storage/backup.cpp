#include "fl/server/storage/backup.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "fl/common/base/file.h"
#include "fl/server/storage/internal/sqlite_connection.h"

namespace fl::server {
namespace {

namespace fs = std::filesystem;
using internal::SqliteConnection;
using internal::SqliteQuery;

constexpr const char* kDatabase = "state.db";

Result<> CheckFolders(const fs::path& state, const fs::path& to) {
  std::error_code failed;
  if (!fs::is_regular_file(state / kDatabase, failed)) {
    return Error{ErrorCode::kNotFound,
                 state.string() + ": expected a server's state folder with state.db in it"};
  }
  if (!fs::exists(to, failed)) return Ok{};
  if (fs::is_directory(to, failed) && fs::is_empty(to, failed)) return Ok{};
  return Error{ErrorCode::kInvalidArgument,
               to.string() + ": expected a folder that is empty or does not exist yet"};
}

// One read transaction over the whole database, so the copy is of one moment.
Result<> CopyTo(const fs::path& database, const fs::path& copy) {
  FL_TRY(const auto connection, SqliteConnection::Open(database.string(), {}));
  SqliteQuery query(*connection, "VACUUM INTO ?");
  query.Bind(copy.string());
  return query.Run();
}

// Reads every page of it.
Result<> CheckCopy(const fs::path& copy) {
  FL_TRY(const auto connection, SqliteConnection::Open(copy.string(), {}));
  SqliteQuery query(*connection, "PRAGMA quick_check(1)");
  FL_TRY([[maybe_unused]] const bool row, query.Step());
  std::string verdict;
  query.Read(verdict);
  if (verdict == "ok") return Ok{};
  return Error{ErrorCode::kMalformed, copy.string() + ": the database is damaged: " + verdict};
}

Result<> Flush(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool flushed = file >= 0 && ::fsync(file) == 0;
  if (file >= 0) ::close(file);
  if (flushed) return Ok{};
  return Error{ErrorCode::kIo, path.string() + ": cannot be flushed to the disk"};
}

Result<> CopyAndCheck(const fs::path& database, const fs::path& part) {
  FL_TRY_OK(CopyTo(database, part));
  FL_TRY_OK(CheckCopy(part));
  return Flush(part);
}

}  // namespace

Result<> BackUpState(const fs::path& state, const fs::path& to) {
  FL_TRY_OK(CheckFolders(state, to));
  FL_TRY_OK(MakePrivateFolder(to));
  const fs::path part = to / "state.db.part";
  Result<> copied = CopyAndCheck(state / kDatabase, part);
  std::error_code failed;
  if (copied) fs::rename(part, to / kDatabase, failed);
  if (!copied || failed) {
    for (const char* tail : {"", "-journal", "-wal", "-shm"}) {
      std::error_code ignored;
      fs::remove(part.string() + tail, ignored);
    }
    if (!copied) return copied;
    return Error{ErrorCode::kIo, (to / kDatabase).string() + ": " + failed.message()};
  }
  return Flush(to);
}

}  // namespace fl::server
