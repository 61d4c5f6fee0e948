#pragma once

#include <cstddef>
#include <cstdint>

#include "fl/client/state/device_state.h"
#include "fl/compression/check_plan.h"

namespace fl::client {

// The life cycle of what a device carries from one of its updates to the next: the residual
// (error_feedback.h) and, where the plan has momentum, the velocity (momentum.h).
//
//   BringForward    a task is about to start from them
//   (staged)        the update, and what will hold once it counts, are saved as one state
//   CommitStaged    the server has acknowledged: what was staged holds
//   GiveBackStaged  the server has refused: as if nothing had been sent
//
// Each is one step from a saved state to the next, so that a crash leaves one or the other.
// Thread safety: distinct states safe.

// Whether updates by this plan leave something out that is to be kept.
bool KeepsResidual(const CheckedPlan& plan);

// Tensors of a residual that were lost, and why.
struct DroppedTensors {
  std::size_t too_old = 0;  // Beyond compression.residual_rounds_max.
  std::size_t misfits = 0;  // The plan's model has none of that name and shape.
};
// Brings both to the tensors that the plan sends, for a task of that round; counts what is dropped.
// The plan keeps a residual.
DroppedTensors BringForward(DeviceState& state, const CheckedPlan& plan, std::uint64_t round);

// A train task's staged residual and velocity become the state's, where its plan keeps a residual;
// other tasks change neither. The staged update is gone. `plan`: the one that it was encoded by;
// null where it is no longer known: then what was sent cannot be told, and the velocity starts
// anew.
void CommitStaged(DeviceState& state, const CheckedPlan* plan);

// What was sent and what was left out become the state's residual, and the velocity is the one that
// it was before anything was sent. The staged update is gone, also on errors; then only what was
// left out is kept: kNotFound without the plan, ErrorFeedback::GiveBack's.
Result<> GiveBackStaged(DeviceState& state, const CheckedPlan* plan);

}  // namespace fl::client
