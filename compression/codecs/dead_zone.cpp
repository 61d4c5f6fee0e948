#include "fl/compression/codecs/dead_zone.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace fl {
namespace {

// The zero bin with the least error at its rate for Laplacian values, about.
float ZeroFor(float step) {
  return std::clamp(0.5F + 0.04F * step, 0.5F, 0.8F);
}

// Mean of (|x| / step - magnitude), as an offset.
class Offset {
 public:
  void Add(float place, float magnitude) {
    sum_ += static_cast<double>(place - magnitude);
    ++count_;
  }
  std::int16_t Value() const {
    if (count_ == 0) return 0;
    const double mean = std::nearbyint(256 * sum_ / static_cast<double>(count_));
    return static_cast<std::int16_t>(std::clamp(mean, -128.0, 127.0));
  }

 private:
  double sum_ = 0;
  std::size_t count_ = 0;
};

}  // namespace

DeadZone::DeadZone(const DeadZoneConfig& config) : config_(config) {
  if (config_.zero == 0) config_.zero = ZeroFor(config_.step);
}

LevelScale DeadZone::Quantize(std::span<const float> values, RngStream& /*rng*/,
                              std::span<std::int32_t> levels) const {
  const double rms = static_cast<double>(internal::RootMeanSquare(values));
  LevelScale scale{.step = internal::StepOf(rms * static_cast<double>(config_.step))};
  Offset first;
  Offset rest;
  const float most = static_cast<float>(level_max());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float place = scale.step > 0 ? std::fabs(values[i]) / scale.step : 0;
    levels[i] = 0;
    if (place < config_.zero) continue;
    const float above = std::min(place, most) + 0.5F;
    const auto nearest = static_cast<std::int32_t>(above);
    const auto magnitude = static_cast<float>(std::max(nearest, 1));
    (magnitude > 1 ? rest : first).Add(std::min(place, most), magnitude);
    const auto level = static_cast<std::int32_t>(magnitude);
    levels[i] = values[i] < 0 ? -level : level;
  }
  scale.offsets = {first.Value(), rest.Value()};
  return scale;
}

Result<std::unique_ptr<Leveller>> BuildDeadZone(const Stage& stage) {
  constexpr std::array<std::string_view, 1> kKnown = {"zero"};
  FL_TRY(const StageOptions options, StageOptions::Read(stage, kKnown));
  DeadZoneConfig config;
  const std::string text = stage.arguments.size() == 1 ? stage.arguments.front() : "";
  const auto step = ParseNumber<float>(text);
  if (!step || !(*step >= 0.01F) || !(*step <= 100)) {
    return RefuseStage(stage,
                       "expected the width of a bin in root mean squares, 0.01 to 100, such as "
                       "dead_zone 4, found \"" +
                           text + "\"");
  }
  config.step = *step;
  if (const std::string* zero = options.Find("zero")) {
    const auto half = ParseNumber<float>(*zero);
    if (!half || !(*half >= 0.5F) || !(*half <= 1)) {
      return RefuseStage(
          stage, "zero: expected half the width of the zero bin in steps, 0.5 to 1, found \"" +
                     *zero + "\"");
    }
    config.zero = *half;
  }
  return std::unique_ptr<Leveller>(std::make_unique<DeadZone>(config));
}

}  // namespace fl
