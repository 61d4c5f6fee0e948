#pragma once

#include <cstddef>
#include <string_view>

#include "fl/common/base/result.h"
#include "fl/common/data/dataset.h"

namespace fl::client {

struct PredictLimits {
  std::size_t samples_max = 256;
};

// Reads the body of POST /predict, which may be hostile:
//   {"sample": [NUMBER, ...]}                     one sample
//   {"samples": [[NUMBER, ...], ...]}             one or more
// Each sample is the raw features (not normalized) in row-major order, as many as `shape` counts.
// The result's labels are not known and 0, of one class. Errors say what was expected and what was
// found: kMalformed (not such JSON, no sample), kShapeMismatch (too few or too many values),
// kLimitExceeded (too many samples), kNotFinite (a number beyond the range of fp32). Thread safety:
// pure function.
Result<data::Samples> ParsePredictRequest(std::string_view json, const Shape& shape,
                                          const PredictLimits& limits = {});

}  // namespace fl::client
