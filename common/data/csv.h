#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/data/dataset.h"
#include "fl/common/data/limits.h"

namespace fl::data {

// Which columns of a CSV file are what. All that are named nowhere are numeric features.
struct CsvOptions {
  std::string label;  // Empty: the last column.
  // One-hot encoded, in this place among the features, the values in sorted order. "NAME" takes the
  // values that occur in the file, in all rows; "NAME=A|B|C" declares them, so that files that lack
  // some give the same features.
  std::vector<std::string> categorical;
  std::vector<std::string>
      ignore;  // Columns to leave out; names that the file does not have are fine.
  // What an empty or "?" field means. false: an error. true: in a numeric column the mean of the
  // column's other fields (0 when there are none); a categorical column gets one category more, its
  // last, for them.
  bool fill_missing = false;
  // Only rows whose column has this text, for each; these columns are left out of the features.
  std::vector<std::pair<std::string, std::string>> filter;
  bool regression = false;  // The label is a number to predict, not a class.
  std::size_t classes = 0;  // Number of classes; 0: as found in the file, in all rows.
};

// Reads a table: a header line with unique names, then a sample a row, as in RFC 4180: comma,
// quotes doubled inside quotes, CRLF or LF; empty lines are skipped, spaces around unquoted fields
// dropped. Classes: where all labels are whole numbers >= 0, the number itself; else the rank of
// the label among the sorted different labels. Sample shape: {features}. kMalformed (bad quotes,
// ragged rows, bad numbers, missing fields, labels out of range) with the line; kInvalidArgument (a
// column that does not exist, no row passes the filter); kLimitExceeded.
Result<Samples> ParseCsv(std::string_view text, const CsvOptions& options,
                         const DataLimits& limits = {});

// One column as ids: the number itself where all fields are whole numbers (of 32 bits), else the
// rank among the sorted different texts. Rows as `filter` says. Errors as above.
Result<std::vector<std::int32_t>> ParseCsvIds(
    std::string_view text, std::string_view column,
    const std::vector<std::pair<std::string, std::string>>& filter, const DataLimits& limits = {});

}  // namespace fl::data
