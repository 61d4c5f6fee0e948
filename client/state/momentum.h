#pragma once

#include <memory>

#include "fl/common/tensor/tensor.h"

namespace fl::client {

// Momentum correction (deep gradient compression: Lin et al. 2018, arXiv:1712.01887). Where only
// few of a change's values are sent, a momentum that the server keeps would push the others late
// and in lumps; so each client keeps its own, in front of the residual:
//
//   velocity = momentum x velocity + delta        Accelerate
//   v        = residual + velocity                ErrorFeedback::Compensate, then Encode
//   velocity = 0 where v was sent                 ClearSent, once the server has acknowledged
//
// so that what is left out goes on moving and what was sent does not push twice (momentum factor
// masking). Over time each delta counts up to 1 / (1 - momentum) times; nothing else is lost or
// added:
//
//   sum of what was acknowledged + residual = sum of all velocities, as they were added
//
// Stateless. Thread safety: safe.

// delta += momentum x velocity, tensor by tensor, by name; a tensor of the velocity that the delta
// does not have, or has in another shape, is left out. A null velocity counts as zero. Gives back
// the new velocity, which is the delta's tensors that `covered` has; null where momentum is 0.
std::shared_ptr<const NamedTensors> Accelerate(NamedTensors& delta,
                                               const std::shared_ptr<const NamedTensors>& velocity,
                                               double momentum, const TensorLayout& covered);

// The velocity, zero where `sent` (same layout) is not.
std::shared_ptr<const NamedTensors> ClearSent(const NamedTensors& velocity,
                                              const NamedTensors& sent);

}  // namespace fl::client
