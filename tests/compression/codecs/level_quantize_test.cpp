#include "fl/compression/codecs/level_quantize.h"

#include <cmath>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

TEST_CASE("LevelQuantize: a step in root mean squares gives a twelfth of its square as error") {
  const auto values = testing::NormalValues(1 << 16, RngStream(1));
  const auto codec = testing::MakeCodec("quantize step=0.25", {256, 256});
  const auto encoded = testing::EncodeValues(*codec, values, RngStream(2));
  CHECK(testing::RelativeError(values, encoded.decoded) ==
        doctest::Approx(0.0625 / 12).epsilon(0.02));
}

TEST_CASE("LevelQuantize: bits alone make the largest magnitude the largest level") {
  const LevelQuantize quantize({.level_max = 7});
  const std::vector<float> values = {7, -7, 3.4F, -0.4F, 0.6F, 0};
  std::vector<std::int16_t> levels(values.size());
  RngStream rng(1);
  CHECK(quantize.StepFor(values) == 1);
  quantize.Quantize(values, 1, rng, levels);
  CHECK(levels == std::vector<std::int16_t>{7, -7, 3, 0, 1, 0});
}

TEST_CASE("LevelQuantize: stochastic levels have the value as their mean") {
  const std::vector<float> values = {0.3F, -1.7F, 2.5F, 0.01F, -0.99F, 1};
  const LevelQuantize quantize({.step = 0.7F, .stochastic = true});
  constexpr int kRuns = 20000;
  std::vector<double> sums(values.size());
  std::vector<std::int16_t> levels(values.size());
  const float step = quantize.StepFor(values);
  for (int run = 0; run < kRuns; ++run) {
    RngStream rng = RngStream(7).Child("run", static_cast<std::uint64_t>(run));
    quantize.Quantize(values, step, rng, levels);
    for (std::size_t i = 0; i < values.size(); ++i) sums[i] += levels[i];
  }
  // Five standard deviations of a mean of bits that are as likely as not.
  const double tolerance = 5 * static_cast<double>(step) * 0.5 / std::sqrt(kRuns);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double mean = sums[i] / kRuns * static_cast<double>(step);
    CHECK(std::fabs(mean - static_cast<double>(values[i])) < tolerance);
  }
}

TEST_CASE("LevelQuantize: magnitudes beyond the largest level become that") {
  const LevelQuantize quantize({.step = 0.001F, .level_max = 100});
  const std::vector<float> values = {1, -1, 0.00001F};
  std::vector<std::int16_t> levels(values.size());
  RngStream rng(1);
  quantize.Quantize(values, quantize.StepFor(values), rng, levels);
  CHECK(levels == std::vector<std::int16_t>{100, -100, 0});
}

}  // namespace
}  // namespace fl
