#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "fl/common/config/plan.h"
#include "fl/common/tensor/tensor.h"

// By what multiple of the finest step the publisher moves, where the plan leaves the step of its
// lattice to the server (`lattice_step = "auto"`).
//
// A stride of ten to twenty standard deviations of a round's server step costs few bytes and, since
// the server goes on from what it wanted, no accuracy. The first round's step sets it; it grows
// finer as the steps shrink and never coarser again, except where the changes that clients fetch
// would take more than the plan's `downlink_bytes`.
namespace fl::server {

// What is kept from round to round.
struct StrideState {
  float deviation = 0;     // Of the server's steps, a running mean; 0: no step was seen.
  unsigned shift = 0;      // By the deviation: the stride is 2^shift of the finest step.
  unsigned published = 0;  // The one that the last version was published with, >= shift.
  friend bool operator==(const StrideState&, const StrideState&) = default;
};

// The state as a tensor and back; one that holds something else counts as none.
std::vector<float> ToTensor(const StrideState& state);
StrideState StrideStateOf(std::span<const float> tensor);

// The root of the mean square of wanted - before over the matrices that moved; summed in order.
double StepDeviation(const TensorLayout& layout, std::span<const float> before,
                     std::span<const float> wanted);

// The state after a step of that deviation; one that is 0 or not finite changes nothing.
// `published` stays as it was.
StrideState AfterStep(StrideState state, double deviation);

// The finest stride, from the state's own on and at most one finer than the last round's, for which
// bytes_of(shift) <= bytes_max; the coarsest where there is none. 0 stands for no bound.
unsigned FittingShift(const StrideState& state, std::uint64_t bytes_max,
                      const std::function<std::uint64_t(unsigned shift)>& bytes_of);

// How many versions a client of the plan usually lies behind when it is asked again:
// population_min / (goal x over_select), rounded up.
std::uint64_t UsualLag(const RoundsConfig& rounds);

}  // namespace fl::server
