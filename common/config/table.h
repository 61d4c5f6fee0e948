#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/config/plan.h"

namespace fl {

// A table of a TOML file as a reader sees it: each key is asked for once, and what was never asked
// for is an unknown key. Errors begin "NAME:LINE:COLUMN: " and say which key, what was expected,
// what was found. The TOML parser itself stays in table.cpp.
//
//   FL_TRY(Table root, Table::Parse(text, "plan.toml"));
//   root.Read("seed", plan.seed, {1, 1e18});
//   FL_TRY_OK(root.Finish());
//
// Read keeps the default where the key is absent, and remembers the first error for Finish.
class Table {
 public:
  struct Range {
    double min = -std::numeric_limits<double>::infinity();
    double max = std::numeric_limits<double>::infinity();
    bool min_excluded = false;
    bool max_excluded = false;
  };
  // kMalformed: not TOML.
  static Result<Table> Parse(std::string_view text, std::string_view name);
  Table(Table&&) noexcept;
  Table& operator=(Table&&) noexcept;
  ~Table();

  void Read(std::string_view key, bool& value);
  void Read(std::string_view key, double& value, Range range);
  // A number, or the word that leaves it open.
  void Read(std::string_view key, std::optional<double>& value, Range range, std::string_view word);
  void Read(std::string_view key, std::uint32_t& value, Range range);
  void Read(std::string_view key, std::uint64_t& value, Range range);
  void Read(std::string_view key, std::string& value);
  // One of `choices`.
  void Read(std::string_view key, std::string& value, const std::vector<std::string>& choices);
  void Read(std::string_view key, LocatedText& value);
  void Read(std::string_view key, std::vector<std::string>& values);
  void Read(std::string_view key, std::vector<LocatedText>& values);
  void Read(std::string_view key, std::vector<double>& values, Range range);
  void Read(std::string_view key, std::vector<std::size_t>& values, Range range);

  // A number of bytes, whole or as a text of digits and a unit: 8000, "8KB", "2MB", "1GB" (powers
  // of 1000).
  void ReadBytes(std::string_view key, std::uint64_t& value, Range range);

  // The table under `key`; empty when absent. It must be finished too.
  Table Child(std::string_view key);
  // The tables of `[[key]]`, in order.
  std::vector<Table> Children(std::string_view key);
  // Everything not yet read, as it stands; it counts as read.
  std::vector<PassConfig::Field> Rest();

  bool present() const;
  // An error at the key's place (at the table's own where the key is absent).
  Error ErrorAt(std::string_view key, ErrorCode code, std::string_view message) const;
  // Remembers an error found by the caller.
  void Refuse(std::string_view key, std::string_view message);
  // The first error; or kInvalidArgument for a key that nobody asked for, with those that are
  // known.
  Result<> Finish();

 private:
  struct State;
  explicit Table(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fl
