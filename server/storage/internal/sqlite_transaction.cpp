#include "fl/server/storage/internal/sqlite_transaction.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "fl/server/storage/internal/body_columns.h"
#include "fl/server/storage/internal/columns.h"
#include "fl/server/storage/internal/refusal_columns.h"

namespace fl::server::internal {
namespace {

// "name, plan, ..." and as many question marks.
template <typename Row>
std::string ColumnList() {
  std::string columns;
  const Row row{};
  Table<Row>::Visit(row, [&](const char* name, const auto&) {
    if (!columns.empty()) columns += ", ";
    columns += name;
  });
  return columns;
}

// INSERT, and on a row of the same key UPDATE of all columns.
template <typename Row>
std::string UpsertText() {
  std::string marks;
  std::string updates;
  const Row row{};
  Table<Row>::Visit(row, [&](const char* name, const auto&) {
    marks += marks.empty() ? "?" : ", ?";
    updates += (updates.empty() ? "" : ", ") + std::string(name) + " = excluded." + name;
  });
  std::string sql = "INSERT INTO " + std::string(Table<Row>::kName) + " (" + ColumnList<Row>() +
                    ") VALUES (" + marks + ")";
  const std::string key(Table<Row>::kKey);
  if (!key.empty()) sql += " ON CONFLICT (" + key + ") DO UPDATE SET " + updates;
  return sql;
}

class SqliteTransaction final : public Transaction {
 public:
  SqliteTransaction(std::unique_ptr<SqliteConnection> connection, std::string federation,
                    BodyFiles* files, ReleaseConnection release)
      : connection_(std::move(connection)),
        federation_(std::move(federation)),
        files_(files),
        release_(std::move(release)) {}

  ~SqliteTransaction() override {
    if (!committed_) {
      // A transaction that SQLite itself rolled back makes this fail, and then it is what we want.
      [[maybe_unused]] const Result<> rolled_back = connection_->ExecutePrepared("ROLLBACK");
    }
    release_(std::move(connection_), committed_);
  }

  Result<> Start(TransactionMode mode) {
    FL_TRY_OK(connection_->BeforeOperation());
    const bool exclusive = mode == TransactionMode::kExclusive;
    FL_TRY_OK(connection_->ExecutePrepared(exclusive ? "BEGIN IMMEDIATE" : "BEGIN DEFERRED"));
    static const std::string kSql = "SELECT fence FROM federations WHERE name = ?";
    SqliteQuery query(*connection_, kSql);
    query.Bind(federation_);
    FL_TRY(const bool row, query.Step());
    if (row) query.Read(fence_);
    return Ok{};
  }

  Result<std::optional<FederationRow>> FindFederation(const std::string& name) override {
    FL_TRY(auto row, First<FederationRow>("name = ?", name));
    if (row && name == federation_) row->fence = fence_;
    return row;
  }
  Result<std::vector<FederationRow>> Federations() override {
    return Select<FederationRow>("1 ORDER BY name");
  }
  Result<> Put(const FederationRow& row) override { return Upsert(row); }

  Result<std::optional<RoundRow>> FindRound(const std::string& federation,
                                            std::uint64_t number) override {
    return First<RoundRow>("federation = ? AND number = ?", federation, number);
  }
  Result<std::vector<RoundRow>> Rounds(const std::string& federation) override {
    return Select<RoundRow>("federation = ? ORDER BY number", federation);
  }
  Result<> Put(const RoundRow& row) override { return Upsert(row); }

  Result<std::optional<ClientRow>> FindClient(const std::string& federation,
                                              const std::string& name) override {
    return First<ClientRow>("federation = ? AND name = ?", federation, name);
  }
  Result<std::vector<ClientRow>> Clients(const std::string& federation) override {
    return Select<ClientRow>("federation = ? ORDER BY name", federation);
  }
  Result<std::vector<std::string>> ClientsSeen(const std::string& federation,
                                               TimePoint since) override {
    SqliteQuery query(
        *connection_,
        "SELECT name FROM clients WHERE federation = ? AND last_seen >= ? ORDER BY name");
    query.Bind(federation);
    query.Bind(since);
    std::vector<std::string> names;
    while (true) {
      FL_TRY(const bool more, query.Step());
      if (!more) return names;
      query.Read(names.emplace_back());
    }
  }
  Result<> Put(const ClientRow& row) override { return Upsert(row); }

  Result<std::optional<TaskRow>> FindTask(std::uint64_t id) override {
    return First<TaskRow>("id = ?", id);
  }
  Result<std::optional<TaskRow>> FindTaskOf(const std::string& federation, wire::TaskKind kind,
                                            std::uint64_t round,
                                            const std::string& client) override {
    return First<TaskRow>("federation = ? AND kind = ? AND round = ? AND client = ?", federation,
                          kind, round, client);
  }
  Result<std::vector<TaskRow>> Cohort(const std::string& federation, std::uint64_t round) override {
    return Select<TaskRow>("federation = ? AND kind = 1 AND round = ? ORDER BY slot", federation,
                           round);
  }
  Result<std::vector<TaskRow>> Counted(const std::string& federation,
                                       std::uint64_t round) override {
    return Select<TaskRow>(
        "federation = ? AND counted_round = ? AND state = 2 AND kind = 1 ORDER BY position",
        federation, round);
  }
  Result<> Put(const TaskRow& row) override { return Upsert(row); }

  // The row comes first: it takes the database's write lock, so that no other transaction writes to
  // the same part of a file.
  Result<> PutChunk(const TaskRow& task, std::uint64_t size, ByteSpan bytes) override {
    FL_TRY(auto body, FindBody(task.id));
    const bool is_large = files_ != nullptr && size >= connection_->options().body_file_bytes_min;
    if (!body && (!is_large || task.committed > 0)) {
      return Run("INSERT OR REPLACE INTO chunks (task, start, bytes) VALUES (?, ?, ?)", task.id,
                 task.committed, bytes);
    }
    std::shared_ptr<BodyFile> file;
    if (body) {
      FL_TRY(file, files_->Open(body->file));
    } else {
      const std::string group = task.federation + '/' + std::to_string(task.round);
      FL_TRY(BodyFiles::Part part, files_->Allot(group, size));
      body = BodyRow{task.id, part.file->id(), part.at, 0};
      file = std::move(part.file);
    }
    FL_CHECK(body->written == task.committed, "a body grows at its end");
    body->written += bytes.size();
    FL_TRY_OK(Upsert(*body));
    FL_TRY_OK(connection_->BeforeOperation());
    FL_TRY_OK(file->Write(body->start + task.committed, bytes));
    if (std::ranges::find(written_, file) == written_.end()) written_.push_back(std::move(file));
    return Ok{};
  }
  Result<StoredBody> ReadBody(std::uint64_t task) override {
    FL_TRY(const auto body, FindBody(task));
    if (body) {
      FL_TRY(const auto file, files_->Open(body->file));
      return file->Map(body->start, static_cast<std::size_t>(body->written));
    }
    SqliteQuery query(*connection_, "SELECT bytes FROM chunks WHERE task = ? ORDER BY start");
    query.Bind(task);
    Bytes all;
    while (true) {
      FL_TRY(const bool row, query.Step());
      if (!row) return StoredBody(std::move(all));
      Bytes chunk;
      query.Read(chunk);
      all.insert(all.end(), chunk.begin(), chunk.end());
    }
  }
  Result<> DropBody(std::uint64_t task) override {
    FL_TRY(const auto body, FindBody(task));
    if (body) {
      if (std::ranges::find(left_, body->file) == left_.end()) left_.push_back(body->file);
      return Run("DELETE FROM bodies WHERE task = ?", task);
    }
    return Run("DELETE FROM chunks WHERE task = ?", task);
  }

  Result<bool> HasPhase(std::uint64_t task, std::uint64_t phase) override {
    FL_TRY(const auto row, First<PhaseRow>("task = ? AND phase = ?", task, phase));
    return row.has_value();
  }
  Result<std::uint64_t> CountPhases(const std::string& federation, std::uint64_t round,
                                    std::uint64_t phase) override {
    SqliteQuery query(
        *connection_,
        "SELECT COUNT(*) FROM phases WHERE federation = ? AND round = ? AND phase = ?");
    query.Bind(federation);
    query.Bind(round);
    query.Bind(phase);
    FL_TRY([[maybe_unused]] const bool row, query.Step());
    std::uint64_t count = 0;
    query.Read(count);
    return count;
  }
  Result<> Put(const PhaseRow& row) override { return Upsert(row); }

  Result<> PutBlob(const std::string& federation, const Digest& digest, ByteSpan bytes) override {
    return Run("INSERT OR IGNORE INTO blobs (digest, federation, bytes) VALUES (?, ?, ?)", digest,
               federation, bytes);
  }
  Result<std::optional<Bytes>> ReadBlob(const Digest& digest) override {
    return Value<Bytes>("SELECT bytes FROM blobs WHERE digest = ?", digest);
  }
  Result<std::optional<std::string>> FederationOfBlob(const Digest& digest) override {
    return Value<std::string>("SELECT federation FROM blobs WHERE digest = ?", digest);
  }
  Result<> DropBlob(const Digest& digest) override {
    return Run("DELETE FROM blobs WHERE digest = ?", digest);
  }

  Result<std::optional<ModelRow>> FindModel(const std::string& federation,
                                            std::uint64_t version) override {
    return First<ModelRow>("federation = ? AND version = ?", federation, version);
  }
  Result<std::vector<ModelRow>> Models(const std::string& federation,
                                       std::uint64_t version_min) override {
    return Select<ModelRow>("federation = ? AND version >= ? ORDER BY version", federation,
                            version_min);
  }
  Result<> Put(const ModelRow& row) override { return Upsert(row); }

  Result<std::optional<ChangeRow>> FindChange(const std::string& federation, std::uint64_t from,
                                              std::uint64_t to, Edition edition) override {
    return First<ChangeRow>("federation = ? AND base = ? AND target = ? AND edition = ?",
                            federation, from, to, edition);
  }
  Result<std::vector<ChangeRow>> Changes(const std::string& federation) override {
    return Select<ChangeRow>("federation = ? ORDER BY base, target, edition", federation);
  }
  Result<> Put(const ChangeRow& row) override { return Upsert(row); }
  Result<> DropChange(const ChangeRow& row) override {
    return Run(
        "DELETE FROM changes WHERE federation = ? AND base = ? AND target = ? AND edition = ?",
        row.federation, row.from, row.to, row.edition);
  }

  Result<std::map<std::string, Bytes>> Tensors(const std::string& federation) override {
    SqliteQuery query(*connection_, "SELECT name, bytes FROM tensors WHERE federation = ?");
    query.Bind(federation);
    std::map<std::string, Bytes> tensors;
    while (true) {
      FL_TRY(const bool row, query.Step());
      if (!row) return tensors;
      std::string name;
      query.Read(name);
      query.Read(tensors[name]);
    }
  }
  Result<std::optional<Bytes>> FindTensor(const std::string& federation,
                                          const std::string& name) override {
    return Value<Bytes>("SELECT bytes FROM tensors WHERE federation = ? AND name = ?", federation,
                        name);
  }
  Result<> PutTensor(const std::string& federation, const std::string& name,
                     ByteSpan bytes) override {
    return Run("INSERT OR REPLACE INTO tensors (federation, name, bytes) VALUES (?, ?, ?)",
               federation, name, bytes);
  }

  Result<std::map<std::uint64_t, Traffic>> TrafficByRound(const std::string& federation) override {
    SqliteQuery query(*connection_,
                      "SELECT round, bytes_up, body_bytes_up, bytes_down, body_bytes_down, "
                      "requests FROM traffic WHERE federation = ?");
    query.Bind(federation);
    std::map<std::uint64_t, Traffic> rounds;
    while (true) {
      FL_TRY(const bool row, query.Step());
      if (!row) return rounds;
      std::uint64_t round = 0;
      query.Read(round);
      Traffic& traffic = rounds[round];
      query.Read(traffic.bytes_up);
      query.Read(traffic.body_bytes_up);
      query.Read(traffic.bytes_down);
      query.Read(traffic.body_bytes_down);
      query.Read(traffic.requests);
    }
  }
  Result<> AddTraffic(const std::string& federation, std::uint64_t round,
                      const Traffic& traffic) override {
    return Run(
        "INSERT INTO traffic (federation, round, bytes_up, body_bytes_up, bytes_down, "
        "body_bytes_down, requests) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (federation, round) "
        "DO UPDATE SET bytes_up = bytes_up + excluded.bytes_up, "
        "body_bytes_up = body_bytes_up + excluded.body_bytes_up, "
        "bytes_down = bytes_down + excluded.bytes_down, "
        "body_bytes_down = body_bytes_down + excluded.body_bytes_down, "
        "requests = requests + excluded.requests",
        federation, round, traffic.bytes_up, traffic.body_bytes_up, traffic.bytes_down,
        traffic.body_bytes_down, traffic.requests);
  }

  Result<Refusals> RefusalsByRound(const std::string& federation) override {
    SqliteQuery query(*connection_, "SELECT round, code, count FROM refusals WHERE federation = ?");
    query.Bind(federation);
    Refusals refusals;
    while (true) {
      FL_TRY(const bool row, query.Step());
      if (!row) return refusals;
      std::uint64_t round = 0;
      std::uint64_t code = 0;
      query.Read(round);
      query.Read(code);
      query.Read(refusals[{round, static_cast<std::uint16_t>(code)}]);
    }
  }
  Result<> AddRefusal(const std::string& federation, std::uint64_t round, ErrorCode code) override {
    return Run(
        "INSERT INTO refusals (federation, round, code, count) VALUES (?, ?, ?, 1) "
        "ON CONFLICT (federation, round, code) DO UPDATE SET count = count + 1",
        federation, round, code);
  }

  Result<std::vector<RefusedRow>> LastRefused(const std::string& federation) override {
    return Select<RefusedRow>("federation = ? ORDER BY number", federation);
  }
  Result<> Add(const RefusedRow& row) override {
    FL_TRY_OK(Upsert(row));
    return Run(
        "DELETE FROM refused WHERE federation = ? AND number <= (SELECT number FROM refused "
        "WHERE federation = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
        row.federation, row.federation, kRefusedMax);
  }

  Result<std::optional<OffenderRow>> FindOffender(const std::string& federation,
                                                  const std::string& client) override {
    return First<OffenderRow>("federation = ? AND client = ?", federation, client);
  }
  Result<std::vector<OffenderRow>> Offenders(const std::string& federation) override {
    return Select<OffenderRow>("federation = ? ORDER BY client", federation);
  }
  Result<> Put(const OffenderRow& row) override { return Upsert(row); }
  Result<> DropOffender(const std::string& federation, const std::string& client) override {
    return Run("DELETE FROM offenders WHERE federation = ? AND client = ?", federation, client);
  }

  Result<std::vector<EventRow>> Events(const std::string& federation) override {
    return Select<EventRow>("federation = ? ORDER BY number", federation);
  }
  Result<> Add(const EventRow& row) override { return Upsert(row); }

  Result<std::vector<DeploymentRow>> Deployments(const std::string& federation) override {
    return Select<DeploymentRow>("federation = ? ORDER BY client", federation);
  }
  Result<> Put(const DeploymentRow& row) override { return Upsert(row); }

  Result<> Commit() override {
    {
      SqliteQuery query(*connection_,
                        "UPDATE federations SET fence = fence + 1 WHERE name = ? AND fence = ?");
      query.Bind(federation_);
      query.Bind(fence_);
      FL_TRY_OK(query.Run());
      if (query.changes() != 1) {
        return Error{ErrorCode::kConflict, "federation " + federation_ + ": fencing number " +
                                               std::to_string(fence_) + " is not current"};
      }
    }
    for (const auto& file : written_) {
      FL_TRY_OK(connection_->BeforeOperation());
      FL_TRY_OK(file->Flush());
    }
    FL_TRY_OK(connection_->BeforeOperation());
    FL_TRY_OK(connection_->ExecutePrepared("COMMIT"));
    committed_ = true;
    written_.clear();
    // What cannot be deleted now is when the storage is opened again.
    for (const std::uint64_t file : left_) {
      [[maybe_unused]] const Result<> deleted = files_->DeleteUnused(
          file, [this](std::uint64_t id) { return HasBody(*connection_, id); });
    }
    return connection_->BeforeOperation();
  }

 private:
  Result<std::optional<BodyRow>> FindBody(std::uint64_t task) {
    if (files_ == nullptr) return std::optional<BodyRow>();
    return First<BodyRow>("task = ?", task);
  }

  template <typename... Arguments>
  Result<> Run(const std::string& sql, const Arguments&... arguments) {
    SqliteQuery query(*connection_, sql);
    (query.Bind(arguments), ...);
    return query.Run();
  }

  template <typename T, typename... Arguments>
  Result<std::optional<T>> Value(const std::string& sql, const Arguments&... arguments) {
    SqliteQuery query(*connection_, sql);
    (query.Bind(arguments), ...);
    FL_TRY(const bool row, query.Step());
    if (!row) return std::optional<T>();
    T value;
    query.Read(value);
    return std::optional<T>(std::move(value));
  }

  template <typename Row>
  Result<> Upsert(const Row& row) {
    static const std::string kSql = UpsertText<Row>();
    SqliteQuery query(*connection_, kSql);
    Table<Row>::Visit(row, [&](const char*, const auto& field) { query.Bind(field); });
    return query.Run();
  }

  template <typename Row, typename... Arguments>
  Result<std::vector<Row>> Select(const char* where, const Arguments&... arguments) {
    static const std::string kHead =
        "SELECT " + ColumnList<Row>() + " FROM " + std::string(Table<Row>::kName) + " WHERE ";
    SqliteQuery query(*connection_, kHead + where);
    (query.Bind(arguments), ...);
    std::vector<Row> rows;
    while (true) {
      FL_TRY(const bool more, query.Step());
      if (!more) return rows;
      Row& row = rows.emplace_back();
      Table<Row>::Visit(row, [&](const char*, auto& field) { query.Read(field); });
    }
  }

  template <typename Row, typename... Arguments>
  Result<std::optional<Row>> First(const char* where, const Arguments&... arguments) {
    FL_TRY(std::vector<Row> rows, Select<Row>(where, arguments...));
    if (rows.empty()) return std::optional<Row>();
    return std::optional<Row>(std::move(rows.front()));
  }

  std::unique_ptr<SqliteConnection> connection_;
  std::string federation_;
  BodyFiles* files_;  // Null: bodies are rows.
  ReleaseConnection release_;
  std::vector<std::shared_ptr<BodyFile>> written_;
  std::vector<std::uint64_t> left_;  // Files that fewer rows refer to than before.
  std::uint64_t fence_ = 0;
  bool committed_ = false;
};

}  // namespace

Result<bool> HasBody(SqliteConnection& connection, std::uint64_t file) {
  SqliteQuery query(connection, "SELECT 1 FROM bodies WHERE file = ? LIMIT 1");
  query.Bind(file);
  return query.Step();
}

Result<std::unique_ptr<Transaction>> BeginSqliteTransaction(
    std::unique_ptr<SqliteConnection> connection, std::string federation, TransactionMode mode,
    BodyFiles* files, ReleaseConnection release) {
  auto transaction = std::make_unique<SqliteTransaction>(
      std::move(connection), std::move(federation), files, std::move(release));
  FL_TRY_OK(transaction->Start(mode));
  return std::unique_ptr<Transaction>(std::move(transaction));
}

}  // namespace fl::server::internal
