#pragma once

#include <memory>
#include <string>

#include "fl/common/base/result.h"
#include "fl/common/data/dataset.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/model_file.h"

namespace fl::model_app {

// A model file from disk, with the path in each error.
Result<nn::ModelFile> ReadModel(const std::string& path);

// How samples are read for a model.
struct DataOptions {
  std::string source;     // A form that data::SourceHelp lists.
  std::string label;      // CSV: the column of the classes; empty: the last one.
  std::string normalize;  // "none", "unit" or a line of data::Normalization; empty: as the model
                          // file says.
};

// The samples as the model takes them. data::OpenSource's errors, kShapeMismatch when they do not
// fit the model, kInvalidArgument when neither file nor options say how to normalize them.
Result<std::shared_ptr<const data::Dataset>> OpenData(const nn::ModelFile& model,
                                                      const DataOptions& options);

// Three disjoint parts: 72 % to train with, 8 % to calibrate, 20 % to verify; drawn by the seed.
struct DataParts {
  data::Subset training;
  data::Subset calibration;
  data::Subset verification;
};
DataParts SplitForPasses(const std::shared_ptr<const data::Dataset>& dataset, std::uint64_t seed);

}  // namespace fl::model_app
