#include "fl/compression/codecs/dead_zone.h"

#include <algorithm>
#include <array>

#include "fl/compression/kernels/find_levels.h"

namespace fl {
namespace {

// The zero bin with the least error at its rate for Laplacian values, about.
float ZeroFor(float step) {
  return std::clamp(0.5F + 0.04F * step, 0.5F, 0.8F);
}

}  // namespace

DeadZone::DeadZone(const DeadZoneConfig& config) : config_(config) {
  if (config_.zero == 0) config_.zero = ZeroFor(config_.step);
}

float DeadZone::StepFor(std::span<const float> values) const {
  return internal::StepOf(static_cast<double>(internal::RootMeanSquare(values)) *
                          static_cast<double>(config_.step));
}

void DeadZone::Quantize(std::span<const float> values, float step, RngStream& /*rng*/,
                        std::span<std::int16_t> levels) const {
  kernels::FindDeadZoneLevels(values, {step, level_max()}, config_.zero, levels);
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
