#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fl::bench {

// What a value must reach for the row to pass.
struct Bar {
  enum class Kind : std::uint8_t { kAtLeast, kAtMost, kBetween };
  Kind kind = Kind::kAtLeast;
  double value = 0;
  double upper = 0;  // kBetween only.

  static Bar AtLeast(double value) { return {Kind::kAtLeast, value, 0}; }
  static Bar AtMost(double value) { return {Kind::kAtMost, value, 0}; }
  static Bar Between(double lower, double upper) { return {Kind::kBetween, lower, upper}; }
  bool IsMetBy(double measured) const;
  std::string ToText() const;  // ">= 3", "<= 50", ">= 1 and <= 2".
};

// One figure.
struct Row {
  std::string name;  // "codecs/quantize 4/add".
  double value = 0;
  std::string unit;
  std::optional<Bar> bar;
  std::string reference;  // What it was measured against, in the same run.
};

// How a run was made: enough to repeat it.
struct RunConditions {
  std::uint64_t seed = 1;
  std::size_t repeats = 5;  // Of each timing; rows are medians.
};

// The rows of a run, in the order in which they were added. Thread safety: one call at a time.
class Report {
 public:
  explicit Report(RunConditions conditions) : conditions_(conditions) {}

  void Add(Row row) { rows_.push_back(std::move(row)); }
  // Says why rows are missing.
  void AddNote(std::string note) { notes_.push_back(std::move(note)); }
  const std::vector<Row>& rows() const { return rows_; }
  std::size_t missed() const;

  // For people: machine, build, seed and repeats, then a line for each row.
  std::string Draw() const;
  // {"machine", "build", "seed", "repeats", "notes", "rows": [{"name", "value", "unit", "bar",
  // "reference"}]}; a bar is a text as Bar::ToText gives it, or null.
  std::string ToJson() const;

 private:
  RunConditions conditions_;
  std::vector<Row> rows_;
  std::vector<std::string> notes_;
};

}  // namespace fl::bench
