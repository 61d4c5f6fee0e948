#include "fl/server/storage/sqlite_storage.h"

#include <condition_variable>
#include <mutex>
#include <vector>

#include "fl/server/storage/internal/schema.h"
#include "fl/server/storage/internal/sqlite_transaction.h"

namespace fl::server {
namespace {

using internal::SqliteConnection;

// Idle connections and watchers. A file's transactions take an idle connection or open another one;
// in memory there is one connection, since each has a database of its own, and transactions wait
// for it.
class SqliteStorage final : public Storage {
 public:
  SqliteStorage(std::string path, SqliteOptions options)
      : path_(std::move(path)), options_(std::move(options)) {}

  Result<> Prepare() {
    FL_TRY(auto connection, SqliteConnection::Open(path_, options_));
    FL_TRY_OK(internal::PrepareSchema(*connection));
    if (!in_memory()) {
      FL_TRY(poll_connection_, SqliteConnection::Open(path_, options_));
      FL_TRY(data_version_, DataVersion());
      files_ = std::make_unique<internal::BodyFiles>(BodyFolderOf(path_));
      FL_TRY_OK(files_->DeleteAllUnused(
          [&](std::uint64_t file) { return internal::HasBody(*connection, file); }));
    }
    idle_.push_back(std::move(connection));
    return Ok{};
  }

  Result<std::unique_ptr<Transaction>> Begin(const std::string& federation,
                                             TransactionMode mode) override {
    FL_TRY(auto connection, Take());
    return internal::BeginSqliteTransaction(
        std::move(connection), federation, mode, files_.get(),
        [this, federation](std::unique_ptr<SqliteConnection> returned, bool committed) {
          GiveBack(std::move(returned));
          if (committed) Tell(federation);
        });
  }

  void Watch(const std::string& federation, std::function<void()> changed) override {
    const std::lock_guard lock(mutex_);
    if (changed) {
      watchers_[federation] = std::move(changed);
    } else {
      watchers_.erase(federation);
    }
  }

  Result<> PollChanges() override {
    if (in_memory()) return Ok{};
    std::vector<std::function<void()>> watchers;
    {
      const std::lock_guard lock(mutex_);
      FL_TRY(const std::uint64_t version, DataVersion());
      if (version == data_version_) return Ok{};
      data_version_ = version;
      for (const auto& [federation, watcher] : watchers_) watchers.push_back(watcher);
    }
    for (const auto& watcher : watchers) watcher();
    return Ok{};
  }

 private:
  bool in_memory() const { return path_ == ":memory:"; }

  // Changes when any other connection, of this process or another, has committed.
  Result<std::uint64_t> DataVersion() {
    internal::SqliteQuery query(*poll_connection_, "PRAGMA data_version");
    FL_TRY([[maybe_unused]] const bool row, query.Step());
    std::uint64_t version = 0;
    query.Read(version);
    return version;
  }

  Result<std::unique_ptr<SqliteConnection>> Take() {
    std::unique_lock lock(mutex_);
    if (in_memory()) returned_.wait(lock, [this] { return !idle_.empty(); });
    if (idle_.empty()) {
      lock.unlock();
      return SqliteConnection::Open(path_, options_);
    }
    std::unique_ptr<SqliteConnection> connection = std::move(idle_.back());
    idle_.pop_back();
    return connection;
  }

  void GiveBack(std::unique_ptr<SqliteConnection> connection) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(connection));
    returned_.notify_one();
  }

  void Tell(const std::string& federation) {
    std::function<void()> watcher;
    {
      const std::lock_guard lock(mutex_);
      const auto found = watchers_.find(federation);
      if (found != watchers_.end()) watcher = found->second;
    }
    if (watcher) watcher();
  }

  const std::string path_;
  const SqliteOptions options_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<SqliteConnection>> idle_;
  std::unique_ptr<SqliteConnection> poll_connection_;  // Null in memory.
  std::uint64_t data_version_ = 0;
  std::map<std::string, std::function<void()>> watchers_;
  std::unique_ptr<internal::BodyFiles> files_;  // Null in memory.
};

}  // namespace

std::filesystem::path BodyFolderOf(const std::filesystem::path& database) {
  return database.string() + "-bodies";
}

Result<std::unique_ptr<Storage>> OpenSqliteStorage(const std::string& path, SqliteOptions options) {
  auto storage = std::make_unique<SqliteStorage>(path, std::move(options));
  FL_TRY_OK(storage->Prepare());
  return std::unique_ptr<Storage>(std::move(storage));
}

}  // namespace fl::server
