#include "fl/client/state/carried_over.h"

#include <utility>

#include "fl/client/state/error_feedback.h"
#include "fl/client/state/momentum.h"
#include "fl/common/base/check.h"

namespace fl::client {
namespace {

// The staged velocity without what was sent; null where that cannot be told.
std::shared_ptr<const NamedTensors> VelocityAfter(const StagedUpdate& staged,
                                                  const CheckedPlan* plan) {
  if (staged.velocity == nullptr || plan == nullptr) return nullptr;
  const auto sent =
      ErrorFeedback::DecodeOwn(staged.update, plan->delta, {staged.round_parameters, staged.round});
  if (!sent || (*sent)->layout != staged.velocity->layout) return nullptr;
  return ClearSent(*staged.velocity, **sent);
}

// Of updates by a plan that keeps nothing the residual of an earlier plan is no part.
bool MayKeep(const CheckedPlan* plan) {
  return plan == nullptr || KeepsResidual(*plan);
}

}  // namespace

bool KeepsResidual(const CheckedPlan& plan) {
  return plan.plan.compression.residual && !plan.delta.lossless();
}

DroppedTensors BringForward(DeviceState& state, const CheckedPlan& plan, std::uint64_t round) {
  DroppedTensors dropped;
  const std::uint64_t rounds_max = plan.plan.compression.residual_rounds_max;
  if (rounds_max > 0 && state.residual_round > 0 && round > state.residual_round + rounds_max) {
    if (state.residual != nullptr) dropped.too_old = state.residual->layout.size();
    state.residual = nullptr;
    state.velocity = nullptr;
  }
  const TensorLayout& layout = plan.delta.covered();
  state.residual = RemapResidual(state.residual, layout, dropped.misfits);
  std::size_t velocities = 0;  // Of the same tensors, so they are not counted again.
  state.velocity = RemapResidual(state.velocity, layout, velocities);
  state.residual_graph = LayoutDigest(layout);
  state.counters.residual_tensors_dropped += dropped.too_old + dropped.misfits;
  return dropped;
}

void CommitStaged(DeviceState& state, const CheckedPlan* plan) {
  FL_CHECK(state.staged.has_value(), "what is acknowledged was staged");
  StagedUpdate staged = *std::exchange(state.staged, std::nullopt);
  if (staged.kind != wire::TaskKind::kTrain || !MayKeep(plan)) return;
  state.velocity = VelocityAfter(staged, plan);
  state.residual = std::move(staged.residual);
  state.residual_round = staged.round;
}

Result<> GiveBackStaged(DeviceState& state, const CheckedPlan* plan) {
  FL_CHECK(state.staged.has_value(), "what is refused was staged");
  StagedUpdate staged = *std::exchange(state.staged, std::nullopt);
  if (staged.kind != wire::TaskKind::kTrain || !MayKeep(plan)) return {};
  auto whole = plan == nullptr
                   ? Result<std::shared_ptr<const NamedTensors>>(
                         Error{ErrorCode::kNotFound, "its plan is no longer known"})
                   : ErrorFeedback::GiveBack(staged.update, staged.residual, plan->delta,
                                             {staged.round_parameters, staged.round});
  state.velocity = std::move(staged.velocity);
  state.residual_round = staged.round;
  if (!whole) {
    // The residual before it is part of what was left out.
    if (staged.residual != nullptr) state.residual = std::move(staged.residual);
    return whole.error();
  }
  state.residual = *std::move(whole);
  return {};
}

}  // namespace fl::client
