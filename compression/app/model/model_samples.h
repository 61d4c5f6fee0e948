#pragma once

#include "fl/common/base/result.h"
#include "fl/common/data/subset.h"
#include "fl/common/nn/graph.h"
#include "fl/compression/deploy/working_model.h"

namespace fl::model_app {

// 64 samples of values drawn from [0, 1), always the same, for where only time counts.
Result<data::Subset> DrawSamples(const nn::Graph& graph);

// Gives the model its integers, with the ranges that it takes on the samples. The errors of
// nn::ObserveRanges and nn::Quantize.
Result<> QuantizeBy(const data::Subset& samples, deploy::WorkingModel& model);

}  // namespace fl::model_app
