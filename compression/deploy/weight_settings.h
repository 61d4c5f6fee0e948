#pragma once

#include "fl/common/base/result.h"
#include "fl/common/nn/weight_coding.h"
#include "fl/compression/deploy/fields.h"

namespace fl::deploy {

// How a pass is to code weights, as its settings say: `bits` (2 to 8), `granularity` ("tensor",
// "channel", "group"), `group` (neighbouring inputs of a group, 2 to 65536), `symmetric`. The error
// is that of what does not go together (WeightSpec::Validate); Fields::Finish tells of single keys.
Result<> ReadWeightSpec(Fields& fields, nn::WeightSpec& spec);

}  // namespace fl::deploy
