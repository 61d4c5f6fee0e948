#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/data/limits.h"

namespace fl::data::internal {

// Splits CSV text into rows, one at a time; see csv.h for the rules. Thread safety: distinct
// objects safe.
class CsvReader {
 public:
  // Keeps a view of the text. A byte order mark at its start is skipped.
  CsvReader(std::string_view text, const DataLimits& limits);

  // Reads the next row that is not empty into `fields`; false at the end. kMalformed with the line,
  // kLimitExceeded.
  Result<bool> Next(std::vector<std::string>& fields);
  // Where the last row began; the first line is 1.
  std::size_t line() const { return row_line_; }
  // An error about the last row.
  Error Malformed(std::string_view why) const;

 private:
  Result<> ReadField(std::string& field);
  Result<> ReadQuoted(std::string& field);
  bool AtLineEnd() const { return position_ == text_.size() || text_[position_] == '\n'; }
  void SkipEmptyLines();

  std::string_view text_;
  const DataLimits& limits_;  // Outlives the reader.
  std::size_t position_ = 0;
  std::size_t line_ = 1;
  std::size_t row_line_ = 1;
};

// Without spaces, tabs and carriage returns at both ends.
std::string_view Trim(std::string_view text);

}  // namespace fl::data::internal
