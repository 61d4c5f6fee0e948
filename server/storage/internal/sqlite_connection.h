#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_map>

#include "fl/common/base/bytes.h"
#include "fl/common/base/clock.h"
#include "fl/common/base/digest.h"
#include "fl/server/storage/sqlite_storage.h"

struct sqlite3;
struct sqlite3_stmt;

namespace fl::server::internal {

// An open database with its prepared statements. Thread safety: one thread at a time.
class SqliteConnection {
 public:
  static Result<std::unique_ptr<SqliteConnection>> Open(const std::string& path,
                                                        const SqliteOptions& options);
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;
  ~SqliteConnection();

  // Runs statements without parameters or results.
  Result<> Execute(const char* sql);
  // One such statement, prepared once: BEGIN, COMMIT, ROLLBACK.
  Result<> ExecutePrepared(const std::string& sql);
  // A statement ready to be bound; prepared once for each text.
  Result<sqlite3_stmt*> Prepare(const std::string& sql);
  // Before an operation: the injected fault, if there is one.
  Result<> BeforeOperation() const;
  Error ErrorOf(int code, const std::string& what) const;
  const std::string& path() const { return path_; }
  const SqliteOptions& options() const { return options_; }

 private:
  SqliteConnection(std::string path, SqliteOptions options)
      : path_(std::move(path)), options_(std::move(options)) {}

  std::string path_;
  SqliteOptions options_;
  sqlite3* database_ = nullptr;
  std::unordered_map<std::string, sqlite3_stmt*> statements_;
};

// One execution of a prepared statement: bind in order, then step through the rows and read the
// columns in order.
class SqliteQuery {
 public:
  SqliteQuery(SqliteConnection& connection, const std::string& sql);
  SqliteQuery(const SqliteQuery&) = delete;
  SqliteQuery& operator=(const SqliteQuery&) = delete;
  ~SqliteQuery();

  void Bind(std::uint64_t value);
  void Bind(bool value) { Bind(std::uint64_t{value}); }
  void Bind(double value);
  void Bind(const std::string& value);
  void Bind(ByteSpan value);
  void Bind(const Bytes& value) { Bind(ByteSpan(value)); }
  void Bind(const Digest& value) { Bind(ByteSpan(value.bytes)); }
  void Bind(TimePoint value) { Bind(static_cast<std::uint64_t>(ToMicroseconds(value))); }
  template <typename E>
    requires std::is_enum_v<E>
  void Bind(E value) {
    Bind(static_cast<std::uint64_t>(value));
  }
  template <typename T>
  void Bind(const std::optional<T>& value) {
    if (value) {
      Bind(*value);
    } else {
      BindNull();
    }
  }

  // True: a row is there to be read.
  Result<bool> Step();
  // For statements without rows.
  Result<> Run();
  // How many rows the statement changed.
  int changes() const;

  void Read(std::uint64_t& value);
  void Read(bool& value);
  void Read(double& value);
  void Read(std::string& value);
  void Read(Bytes& value);
  void Read(Digest& value);
  void Read(TimePoint& value);
  template <typename E>
    requires std::is_enum_v<E>
  void Read(E& value) {
    std::uint64_t number = 0;
    Read(number);
    value = static_cast<E>(number);
  }
  template <typename T>
  void Read(std::optional<T>& value) {
    if (ColumnIsNull()) {
      ++column_;
      value.reset();
    } else {
      Read(value.emplace());
    }
  }

 private:
  void BindNull();
  bool ColumnIsNull() const;
  void Note(int code);

  SqliteConnection& connection_;
  sqlite3_stmt* statement_ = nullptr;
  std::optional<Error> error_;  // The first one, reported by Step.
  int parameter_ = 0;
  int column_ = 0;
};

}  // namespace fl::server::internal
