#pragma once

#include <filesystem>

#include "fl/common/base/bytes.h"
#include "fl/common/data/dataset.h"
#include "fl/common/data/limits.h"
#include "fl/common/data/subset.h"

namespace fl::data {

// Samples in a safetensors file: tensor `x`, samples x shape (U8, F32, F16, BF16, I16, I32), and
// tensor `y`, one value a sample: a whole number type (U8, I16, I32, I64) for classes, F32 for
// targets. Metadata "classes" tells how many classes there are; where it is absent, `classes`, and
// where that is 0, the largest label + 1. With `regression` whole numbers are targets too.
// kMalformed, kLimitExceeded, kUnsupported (element type), kNotFinite.
Result<Samples> ParseSampleFile(ByteSpan bytes, bool regression, std::size_t classes,
                                const DataLimits& limits = {});

// Writes a subset so that reading it gives the same samples bit by bit: stored features (bytes stay
// U8), not normalized ones.
Bytes SerializeSampleFile(const Subset& subset);
// The same, to a file. kIo.
Result<> SaveSafetensors(const Subset& subset, const std::filesystem::path& path);

}  // namespace fl::data
