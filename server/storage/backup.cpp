#include "fl/server/storage/backup.h"

#include <fcntl.h>
#include <unistd.h>

#include <map>
#include <optional>
#include <set>
#include <string>

#include "fl/common/base/file.h"
#include "fl/server/storage/internal/sqlite_connection.h"
#include "fl/server/storage/stored_body.h"

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

// The files of large bodies, open: one that a server deletes meanwhile is still there.
class OpenBodies {
 public:
  explicit OpenBodies(fs::path folder) : folder_(std::move(folder)) {}
  OpenBodies(const OpenBodies&) = delete;
  OpenBodies& operator=(const OpenBodies&) = delete;
  ~OpenBodies() {
    for (const auto& [name, descriptor] : files_) ::close(descriptor);
  }

  // Those that were not there before, too.
  void OpenAll() {
    std::error_code failed;
    for (fs::directory_iterator at(folder_, failed), end; !failed && at != end;
         at.increment(failed)) {
      const std::string name = at->path().filename().string();
      if (files_.contains(name)) continue;
      const int descriptor = ::open(at->path().c_str(), O_RDONLY | O_CLOEXEC);
      if (descriptor >= 0) files_[name] = descriptor;
    }
  }
  std::optional<int> Find(const std::string& name) const {
    const auto found = files_.find(name);
    return found == files_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  fs::path folder_;
  std::map<std::string, int> files_;
};

Result<> CopyBody(int from, std::uint64_t start, std::uint64_t size, const fs::path& to) {
  FL_TRY(const StoredBody body, StoredBody::Map(from, start, static_cast<std::size_t>(size)));
  const int file = ::open(to.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ByteSpan rest = body.bytes();
  bool written = file >= 0;
  while (written && !rest.empty()) {
    const ssize_t count = ::pwrite(file, rest.data(), rest.size(),
                                   static_cast<off_t>(start + (body.bytes().size() - rest.size())));
    written = count > 0;
    if (written) rest = rest.subspan(static_cast<std::size_t>(count));
  }
  if (file >= 0) ::close(file);
  if (written) return Ok{};
  return Error{ErrorCode::kIo, to.string() + ": cannot be written"};
}

// The bodies that the copied rows refer to, at the same places. kNotFound: a file came and went
// while the database was copied.
Result<> CopyBodies(const fs::path& copied_database, const OpenBodies& bodies, const fs::path& to) {
  FL_TRY(const auto connection, SqliteConnection::Open(copied_database.string(), {}));
  SqliteQuery table(*connection, "SELECT 1 FROM sqlite_master WHERE name = 'bodies'");
  FL_TRY(const bool has_bodies, table.Step());
  if (!has_bodies) return Ok{};  // An older program's.
  SqliteQuery query(*connection, "SELECT file, start, written FROM bodies ORDER BY file");
  std::set<fs::path> files;
  while (true) {
    FL_TRY(const bool row, query.Step());
    if (!row) break;
    std::uint64_t id = 0;
    std::uint64_t start = 0;
    std::uint64_t size = 0;
    query.Read(id);
    query.Read(start);
    query.Read(size);
    const std::optional<int> from = bodies.Find(std::to_string(id));
    if (!from) return Error{ErrorCode::kNotFound, (to / std::to_string(id)).string()};
    FL_TRY_OK(MakePrivateFolder(to));
    files.insert(to / std::to_string(id));
    const Result<> copied = CopyBody(*from, start, size, to / std::to_string(id));
    if (!copied) return Error{ErrorCode::kIo, copied.error().message};
  }
  for (const fs::path& file : files) FL_TRY_OK(Flush(file));
  return files.empty() ? Result<>(Ok{}) : Flush(to);
}

Result<> CopyAndCheck(const fs::path& database, const fs::path& part, const fs::path& bodies_to) {
  OpenBodies bodies(BodyFolderOf(database));
  bodies.OpenAll();
  FL_TRY_OK(CopyTo(database, part));
  bodies.OpenAll();
  FL_TRY_OK(CheckCopy(part));
  FL_TRY_OK(CopyBodies(part, bodies, bodies_to));
  return Flush(part);
}

void RemoveCopy(const fs::path& part, const fs::path& bodies) {
  std::error_code ignored;
  for (const char* tail : {"", "-journal", "-wal", "-shm"}) {
    fs::remove(part.string() + tail, ignored);
  }
  fs::remove_all(bodies, ignored);
}

}  // namespace

Result<> BackUpState(const fs::path& state, const fs::path& to) {
  constexpr int kAttempts = 5;
  FL_TRY_OK(CheckFolders(state, to));
  FL_TRY_OK(MakePrivateFolder(to));
  const fs::path part = to / "state.db.part";
  const fs::path bodies = BodyFolderOf(to / kDatabase);
  for (int attempt = 1;; ++attempt) {
    Result<> copied = CopyAndCheck(state / kDatabase, part, bodies);
    if (copied) break;
    RemoveCopy(part, bodies);
    if (copied.error().code != ErrorCode::kNotFound || attempt == kAttempts) return copied;
  }
  std::error_code failed;
  fs::rename(part, to / kDatabase, failed);
  if (failed) {
    RemoveCopy(part, bodies);
    return Error{ErrorCode::kIo, (to / kDatabase).string() + ": " + failed.message()};
  }
  return Flush(to);
}

}  // namespace fl::server
