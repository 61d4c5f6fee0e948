#pragma once

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/common/tensor/tensor.h"

namespace fl::client {

// Step 2: the model that a change (common/wire/model_change.h) makes of `base`, in base's layout.
// Errors are the change's decoder's; kShapeMismatch when it was made for another number of
// parameters.
Result<NamedTensors> ApplyModelPatch(const NamedTensors& base, ByteSpan patch);

// A model as it travels whole: fp32 little-endian in layout order. kMalformed when the length is
// not the layout's, kNotFinite.
Result<NamedTensors> ReadWholeModel(const TensorLayout& layout, ByteSpan bytes);

}  // namespace fl::client
