#pragma once

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"
#include "fl/common/tensor/tensor.h"
#include "fl/compression/check_plan.h"

namespace fl::client {

// Version 0 of the plan's model, which its seed makes.
NamedTensors InitialModel(const CheckedPlan& plan);

// What a change from version 0 starts from: version 0, or zeros where the plan publishes in bf16.
NamedTensors ChangeStart(const CheckedPlan& plan);

// Step 2: the model that a change (common/wire/model_change.h, or compression/lattice.h where the
// plan publishes on a lattice) makes of `base`, which has the layout of the plan's model. Errors
// are the change's decoder's; kShapeMismatch when it was made for another number of parameters;
// kMalformed for a change on a lattice that the plan does not have, or that `base` is not on.
Result<NamedTensors> ApplyModelPatch(const CheckedPlan& plan, const NamedTensors& base,
                                     ByteSpan patch);

// A model as it travels whole: fp32 little-endian in layout order. kMalformed when the length is
// not the layout's, kNotFinite.
Result<NamedTensors> ReadWholeModel(const TensorLayout& layout, ByteSpan bytes);

}  // namespace fl::client
