#include "fl/server/storage/internal/sqlite_connection.h"

#include <algorithm>
#include <bit>

#include <sqlite3.h>

namespace fl::server::internal {

Result<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(const std::string& path,
                                                                 const SqliteOptions& options) {
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection(path, options));
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  // Counting what SQLite has on the heap takes a lock for each allocation; nobody asks for it.
  [[maybe_unused]] static const int counts = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  const int code = sqlite3_open_v2(path.c_str(), &connection->database_, flags, nullptr);
  if (code != SQLITE_OK) return connection->ErrorOf(code, "cannot open the database");
  sqlite3_extended_result_codes(connection->database_, 1);
  sqlite3_busy_timeout(connection->database_, options.busy_timeout_ms);
  // Some systems' SQLite overwrites what is deleted; memory is nobody else's.
  if (path == ":memory:") FL_TRY_OK(connection->Execute("PRAGMA secure_delete=OFF"));
  FL_TRY_OK(connection->Execute(
      "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
      "PRAGMA foreign_keys=ON; PRAGMA cache_size=-16384; "
      // In pages: the log is written back at 4 MiB, so that a small disk has room for both.
      "PRAGMA wal_autocheckpoint=1024"));
  return connection;
}

SqliteConnection::~SqliteConnection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(database_);
}

Result<> SqliteConnection::Execute(const char* sql) {
  const int code = sqlite3_exec(database_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return ErrorOf(code, sql);
  return Ok{};
}

Result<> SqliteConnection::ExecutePrepared(const std::string& sql) {
  FL_TRY(sqlite3_stmt* const statement, Prepare(sql));
  const int code = sqlite3_step(statement);
  Result<> outcome = code == SQLITE_DONE ? Result<>(Ok{}) : Result<>(ErrorOf(code, sql));
  sqlite3_reset(statement);
  return outcome;
}

Result<sqlite3_stmt*> SqliteConnection::Prepare(const std::string& sql) {
  const auto found = statements_.find(sql);
  if (found != statements_.end()) return found->second;
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(database_, sql.c_str(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return ErrorOf(code, sql);
  statements_.emplace(sql, statement);
  return statement;
}

Result<> SqliteConnection::BeforeOperation() const {
  if (options_.before_operation) return options_.before_operation();
  return Ok{};
}

Error SqliteConnection::ErrorOf(int code, const std::string& what) const {
  const int primary = code & 0xff;
  const char* reason = database_ != nullptr ? sqlite3_errmsg(database_) : sqlite3_errstr(code);
  const ErrorCode kind =
      primary == SQLITE_BUSY || primary == SQLITE_LOCKED ? ErrorCode::kConflict : ErrorCode::kIo;
  return {kind, path_ + ": " + reason + " (" + what + ")"};
}

SqliteQuery::SqliteQuery(SqliteConnection& connection, const std::string& sql)
    : connection_(connection) {
  Result<> fault = connection_.BeforeOperation();
  if (!fault) {
    error_ = fault.error();
    return;
  }
  Result<sqlite3_stmt*> statement = connection_.Prepare(sql);
  if (statement) {
    statement_ = *statement;
  } else {
    error_ = statement.error();
  }
}

SqliteQuery::~SqliteQuery() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

void SqliteQuery::Note(int code) {
  if (code != SQLITE_OK && !error_) error_ = connection_.ErrorOf(code, "bind");
}

// SQLite's integers are signed; the bits of ours are kept.
void SqliteQuery::Bind(std::uint64_t value) {
  if (statement_ == nullptr) return;
  Note(sqlite3_bind_int64(statement_, ++parameter_, std::bit_cast<std::int64_t>(value)));
}

void SqliteQuery::Bind(double value) {
  if (statement_ == nullptr) return;
  Note(sqlite3_bind_double(statement_, ++parameter_, value));
}

void SqliteQuery::Bind(const std::string& value) {
  if (statement_ == nullptr) return;
  Note(sqlite3_bind_text64(statement_, ++parameter_, value.data(), value.size(), SQLITE_TRANSIENT,
                           SQLITE_UTF8));
}

void SqliteQuery::Bind(ByteSpan value) {
  if (statement_ == nullptr) return;
  // An empty span may have a null pointer, which SQLite would store as NULL. The bytes outlive the
  // step, so nothing is copied.
  const void* data = value.empty() ? static_cast<const void*>("") : value.data();
  Note(sqlite3_bind_blob64(statement_, ++parameter_, data, value.size(), SQLITE_STATIC));
}

void SqliteQuery::BindNull() {
  if (statement_ == nullptr) return;
  Note(sqlite3_bind_null(statement_, ++parameter_));
}

Result<bool> SqliteQuery::Step() {
  if (error_) return *error_;
  column_ = 0;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  error_ = connection_.ErrorOf(code, sqlite3_sql(statement_));
  return *error_;
}

Result<> SqliteQuery::Run() {
  FL_TRY([[maybe_unused]] const bool row, Step());
  return Ok{};
}

int SqliteQuery::changes() const {
  return sqlite3_changes(sqlite3_db_handle(statement_));
}

bool SqliteQuery::ColumnIsNull() const {
  return sqlite3_column_type(statement_, column_) == SQLITE_NULL;
}

void SqliteQuery::Read(std::uint64_t& value) {
  value = std::bit_cast<std::uint64_t>(
      static_cast<std::int64_t>(sqlite3_column_int64(statement_, column_++)));
}

void SqliteQuery::Read(bool& value) {
  value = sqlite3_column_int64(statement_, column_++) != 0;
}

void SqliteQuery::Read(double& value) {
  value = sqlite3_column_double(statement_, column_++);
}

void SqliteQuery::Read(std::string& value) {
  const unsigned char* text = sqlite3_column_text(statement_, column_);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column_++));
  value.assign(reinterpret_cast<const char*>(text), text == nullptr ? 0 : size);
}

void SqliteQuery::Read(Bytes& value) {
  const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(statement_, column_));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column_++));
  value.assign(data, data + (data == nullptr ? 0 : size));
}

void SqliteQuery::Read(Digest& value) {
  Bytes bytes;
  Read(bytes);
  value = Digest{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), value.bytes.size()), value.bytes.begin());
}

void SqliteQuery::Read(TimePoint& value) {
  std::uint64_t number = 0;
  Read(number);
  value = FromMicroseconds(std::bit_cast<std::int64_t>(number));
}

}  // namespace fl::server::internal
