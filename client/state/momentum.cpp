#include "fl/client/state/momentum.h"

#include "fl/client/state/error_feedback.h"
#include "fl/common/base/check.h"

namespace fl::client {

std::shared_ptr<const NamedTensors> Accelerate(NamedTensors& delta,
                                               const std::shared_ptr<const NamedTensors>& velocity,
                                               double momentum, const TensorLayout& covered) {
  if (momentum == 0) return nullptr;
  AddScaled(velocity, static_cast<float>(momentum), delta);
  std::size_t not_covered = 0;
  return RemapResidual(std::make_shared<const NamedTensors>(delta), covered, not_covered);
}

std::shared_ptr<const NamedTensors> ClearSent(const NamedTensors& velocity,
                                              const NamedTensors& sent) {
  FL_CHECK(velocity.layout == sent.layout, "a velocity has the tensors that are sent");
  auto cleared = std::make_shared<NamedTensors>(velocity);
  for (std::size_t i = 0; i < sent.values.size(); ++i) {
    if (sent.values[i] != 0) cleared->values[i] = 0;
  }
  return cleared;
}

}  // namespace fl::client
