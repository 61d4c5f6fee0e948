#pragma once

#include <memory>
#include <string_view>

#include "fl/common/data/source.h"
#include "fl/common/data/subset.h"
#include "fl/compression/check_plan.h"

namespace fl {

// How the plan wants a data source to be read: the model's shapes, [data]'s columns and
// normalization. kInvalidArgument when the normalization is none.
Result<data::SourceOptions> SourceOptionsOf(const CheckedPlan& checked);

// kShapeMismatch unless the samples are what the graph takes and their labels what its loss needs.
Result<> CheckFits(const data::Dataset& dataset, const nn::Graph& graph);

// The data set of `samples`, normalized by their own mean and deviation where the plan's [data]
// says "fitted"; else as it is.
std::shared_ptr<const data::Dataset> FitNormalization(const data::Subset& samples,
                                                      const DataConfig& config);

// The samples of a source in one of the forms that data::SourceHelp lists. Errors are
// data::OpenSource's, and kShapeMismatch.
Result<std::shared_ptr<const data::Dataset>> OpenSamples(std::string_view source,
                                                         const CheckedPlan& checked);

}  // namespace fl
