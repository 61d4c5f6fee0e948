#pragma once

#include <cstdint>
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
  std::string unseen;     // A second source, see SplitForPasses; empty: none.
};

// The samples as the model takes them. data::OpenSource's errors, kShapeMismatch when they do not
// fit the model, kInvalidArgument when neither file nor options say how to normalize them.
Result<std::shared_ptr<const data::Dataset>> OpenData(const nn::ModelFile& model,
                                                      const DataOptions& options);

// Disjoint parts, drawn by the seed: 72 % to train with, 8 % to calibrate, 20 % to verify; a search
// chooses by the calibration samples. With `unseen`, samples that the model was not trained on, the
// first two are 90 % and 10 %, and half of `unseen` is to choose by, the other half to verify.
struct DataParts {
  data::Subset training;
  data::Subset calibration;
  data::Subset verification;
  data::Subset choosing;
};
DataParts SplitForPasses(const std::shared_ptr<const data::Dataset>& dataset, std::uint64_t seed,
                         const std::shared_ptr<const data::Dataset>& unseen = nullptr);

// What a compression starts from.
struct CompressInputs {
  nn::ModelFile file;
  nn::FloatModel teacher;  // The file's, its weights whole and free to change.
  DataParts parts;
  std::string normalization;
};

// Reads model and data. Those two functions' errors; kUnsupported for a model that is quantized
// already.
Result<CompressInputs> ReadCompressInputs(const std::string& path, const DataOptions& data,
                                          std::uint64_t seed);

}  // namespace fl::model_app
