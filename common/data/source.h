#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/data/csv.h"
#include "fl/common/data/dataset.h"
#include "fl/common/data/limits.h"

namespace fl::data {

// How a source is read: what the plan says about samples and what the model expects.
struct SourceOptions {
  std::filesystem::path root;  // Relative paths are relative to it; empty: to the current folder.
  std::optional<Shape>
      shape;  // Of a sample, as the model wants it: the file's must have as many features.
  std::size_t classes = 0;  // As the model has outputs; 0: as the file says.
  bool regression = false;
  std::optional<float> target_max;  // Regression: larger targets are read as this one.
  Normalization normalization;
  CsvOptions csv;  // Its filter, regression and classes are set from the source and from above.
  DataLimits limits;
};

// Opens a source of samples, in one of the forms that SourceHelp lists; each file may be
// gzip-compressed. Errors begin with the file's path: kNotFound, kIo, kInvalidArgument (not a
// source; regression and classes mixed up), kShapeMismatch, and those of the format's parser.
Result<std::shared_ptr<const Dataset>> OpenSource(std::string_view source,
                                                  const SourceOptions& options);

// The forms of a source for a program's --help: lines of "form   what it reads".
std::string_view SourceHelp();

// A client id for each sample: an IDX file of rank 1, or "FILE.csv[?COLUMN=TEXT]#COLUMN". Relative
// paths as above.
Result<std::vector<std::int32_t>> LoadClientIds(std::string_view source,
                                                const std::filesystem::path& root = {},
                                                const DataLimits& limits = {});

}  // namespace fl::data
