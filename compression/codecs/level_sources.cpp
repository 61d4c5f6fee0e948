#include "fl/compression/codecs/level_sources.h"

#include <algorithm>
#include <cmath>

#include "fl/compression/codecs/largest_magnitudes.h"

namespace fl::internal {
namespace {

// A mean in steps as it travels.
std::int16_t MeanOffset(const kernels::LevelOffset& offset) {
  if (offset.count == 0) return 0;
  const double sum = static_cast<double>(offset.sum) * 0x1p-24;
  const double mean = std::nearbyint(256 * sum / static_cast<double>(offset.count));
  return static_cast<std::int16_t>(std::clamp(mean, -128.0, 127.0));
}

}  // namespace

AllLevels::AllLevels(const Leveller& leveller, std::span<const float> values, const RngStream& rng)
    : leveller_(leveller),
      values_(values),
      step_(leveller.StepFor(values)),
      start_(rng),
      rng_(rng) {}

LevelScale AllLevels::scale() const {
  return {.step = step_, .offsets = {MeanOffset(offsets_.first), MeanOffset(offsets_.rest)}};
}

void AllLevels::Restart() {
  rng_ = start_;
  next_ = 0;
}

void AllLevels::Next(std::span<std::int16_t> out) {
  const auto values = values_.subspan(next_, out.size());
  leveller_.Quantize(values, step_, rng_, out);
  if (leveller_.has_offsets() && next_ == measured_) {
    kernels::AddLevelOffsets(values, out, {step_, leveller_.level_max()}, offsets_);
    measured_ += out.size();
  }
  next_ += out.size();
}

KeptLevels::KeptLevels(const Leveller& leveller, std::span<const float> values, std::size_t keep,
                       RngStream rng)
    : places_(LargestMagnitudes(values, keep)), levels_(places_.size()) {
  std::vector<float> kept(places_.size());
  for (std::size_t i = 0; i < kept.size(); ++i) kept[i] = values[places_[i]];
  step_ = leveller.StepFor(kept);
  if (step_ > 0) leveller.Quantize(kept, step_, rng, levels_);
}

void KeptLevels::Restart() {
  at_ = 0;
  next_ = 0;
}

void KeptLevels::Next(std::span<std::int16_t> out) {
  std::ranges::fill(out, std::int16_t{0});
  for (; next_ < places_.size() && places_[next_] - at_ < out.size(); ++next_)
    out[places_[next_] - at_] = levels_[next_];
  at_ += out.size();
}

}  // namespace fl::internal
