#include "fl/client/core/model_patch.h"

#include <cstring>
#include <string>

#include "fl/common/wire/model_change.h"

namespace fl::client {

Result<NamedTensors> ApplyModelPatch(const NamedTensors& base, ByteSpan patch) {
  NamedTensors model(base.layout);
  FL_TRY_OK(wire::ApplyModelChange(patch, base.values, model.values));
  if (!AllFinite(model.values)) {
    return Error{ErrorCode::kNotFinite, "model change: a parameter is not finite"};
  }
  return model;
}

Result<NamedTensors> ReadWholeModel(const TensorLayout& layout, ByteSpan bytes) {
  if (bytes.size() != layout.total() * sizeof(float)) {
    return Error{ErrorCode::kMalformed, "model: expected " +
                                            std::to_string(layout.total() * sizeof(float)) +
                                            " bytes, found " + std::to_string(bytes.size())};
  }
  NamedTensors model(layout);
  std::memcpy(model.values.data(), bytes.data(), bytes.size());
  if (!AllFinite(model.values)) {
    return Error{ErrorCode::kNotFinite, "model: a parameter is not finite"};
  }
  return model;
}

}  // namespace fl::client
