#pragma once

#include <memory>
#include <string_view>

#include "fl/common/data/source.h"
#include "fl/compression/check_plan.h"

namespace fl::client {

// How the plan wants a data source to be read: the model's shapes, [data]'s columns and
// normalization. kInvalidArgument when the normalization is none.
Result<data::SourceOptions> MakeSourceOptions(const CheckedPlan& checked);

// The device's samples, from the form of source that data::SourceHelp lists. Errors are
// data::OpenSource's, and kShapeMismatch.
Result<std::shared_ptr<const data::Dataset>> OpenLocalData(std::string_view source,
                                                           const CheckedPlan& checked);

}  // namespace fl::client
