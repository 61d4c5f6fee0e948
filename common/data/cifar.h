#pragma once

#include "fl/common/base/bytes.h"
#include "fl/common/data/dataset.h"
#include "fl/common/data/limits.h"

namespace fl::data {

// Reads CIFAR-10's binary format: records of one label byte (0 to 9), then 1024 red, 1024 green,
// 1024 blue bytes, row by row. (A. Krizhevsky 2009.) The samples' channels are put last: shape
// 32x32x3. kMalformed, kLimitExceeded.
Result<Samples> ParseCifar10(ByteSpan bytes, const DataLimits& limits = {});

}  // namespace fl::data
