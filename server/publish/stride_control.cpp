#include "fl/server/publish/stride_control.h"

#include <algorithm>
#include <cmath>

#include "fl/compression/lattice.h"

namespace fl::server {
namespace {

// A stride is at most so many deviations of the first step, and is halved when it has become more
// than so many of the mean: a change of stride publishes at once what was left out before.
constexpr double kDeviationsAtFirst = 20;
constexpr double kDeviationsMax = 32;
constexpr double kMemory = 0.9;

// The largest power of two of finest steps that is at most `stride`.
unsigned ShiftOf(double stride) {
  const int shift = std::ilogb(stride / kFinestLatticeStep);
  return static_cast<unsigned>(std::clamp(shift, 0, static_cast<int>(kLatticeShiftMax)));
}

}  // namespace

std::vector<float> ToTensor(const StrideState& state) {
  return {state.deviation, static_cast<float>(state.shift), static_cast<float>(state.published)};
}

StrideState StrideStateOf(std::span<const float> tensor) {
  if (tensor.size() != 3) return {};
  const auto shift = [](float value) {
    return static_cast<unsigned>(std::clamp<float>(value, 0, kLatticeShiftMax));
  };
  return {tensor[0], shift(tensor[1]), shift(tensor[2])};
}

double StepDeviation(const TensorLayout& layout, std::span<const float> before,
                     std::span<const float> wanted) {
  double sum = 0;
  std::size_t count = 0;
  for (std::size_t t = 0; t < layout.size(); ++t) {
    if (layout[t].shape.rank() < 2) continue;
    double squares = 0;
    for (std::size_t i = layout.offset(t); i < layout.offset(t + 1); ++i) {
      const double moved = double{wanted[i]} - double{before[i]};
      squares += moved * moved;
    }
    if (squares == 0) continue;
    sum += squares;
    count += layout.offset(t + 1) - layout.offset(t);
  }
  return count == 0 ? 0 : std::sqrt(sum / static_cast<double>(count));
}

StrideState AfterStep(StrideState state, double deviation) {
  if (!std::isfinite(deviation) || deviation <= 0) return state;
  if (state.deviation == 0) {
    state.deviation = static_cast<float>(deviation);
    state.shift = ShiftOf(kDeviationsAtFirst * deviation);
    return state;
  }
  state.deviation =
      static_cast<float>(kMemory * double{state.deviation} + (1 - kMemory) * deviation);
  state.shift = std::min(state.shift, ShiftOf(kDeviationsMax * double{state.deviation}));
  return state;
}

unsigned FittingShift(const StrideState& state, std::uint64_t bytes_max,
                      const std::function<std::uint64_t(unsigned shift)>& bytes_of) {
  if (bytes_max == 0) return state.shift;
  unsigned shift = std::max(state.shift, state.published == 0 ? 0 : state.published - 1);
  while (shift < kLatticeShiftMax && bytes_of(shift) > bytes_max) ++shift;
  return shift;
}

std::uint64_t UsualLag(const RoundsConfig& rounds) {
  const double asked = rounds.goal * rounds.over_select;
  return static_cast<std::uint64_t>(std::max(1.0, std::ceil(rounds.population_min / asked)));
}

}  // namespace fl::server
