#include "fl/compression/codecs/dead_zone.h"

#include <cmath>
#include <string>

#include "fl/tests/compression/codec_builder.h"

namespace fl {
namespace {

using testing::EncodeValues;
using testing::MakeCodec;

std::vector<float> LaplaceValues(std::size_t count, RngStream rng) {
  std::vector<float> values(count);
  for (float& value : values) {
    const double magnitude = -std::log(1 - rng.UniformDouble()) / std::sqrt(2.0);
    value = static_cast<float>(rng.NextU32() % 2 == 0 ? magnitude : -magnitude);
  }
  return values;
}

TEST_CASE("DeadZone: levels are those of its bins") {
  const std::vector<float> values = {0.0F, 2.0F, -2.0F, 0.5F, -0.5F, 1.3F, -0.7F, 4.0F};
  const DeadZone dead_zone({.step = 0.5F, .zero = 0.75F});
  std::vector<std::int16_t> levels(values.size());
  RngStream rng(1);
  const float step = dead_zone.StepFor(values);
  dead_zone.Quantize(values, step, rng, levels);
  // The root mean square is 1.827; the step is half of that, upwards to a bf16.
  CHECK(step == 0.9140625F);
  CHECK(levels == std::vector<std::int16_t>{0, 2, -2, 0, 0, 1, -1, 4});
}

TEST_CASE("DeadZone: a bin goes back to the mean of what fell into it") {
  const auto codec = MakeCodec("dead_zone 1 zero=0.5", {4000});
  const auto values = LaplaceValues(4000, RngStream(2));
  const auto encoded = EncodeValues(*codec, values, RngStream(3));
  double sum = 0;
  double sum_decoded = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (encoded.decoded[i] == 0) continue;
    sum += static_cast<double>(std::fabs(values[i]));
    sum_decoded += static_cast<double>(std::fabs(encoded.decoded[i]));
  }
  CHECK(sum_decoded == doctest::Approx(sum).epsilon(0.005));
}

TEST_CASE("DeadZone: zeros alone take no bytes") {
  const auto codec = MakeCodec("dead_zone 2", {300});
  const auto encoded = EncodeValues(*codec, std::vector<float>(300, 0.0F), RngStream(1));
  CHECK(encoded.payload.empty());
}

TEST_CASE("DeadZone: it is as good as entropy-coded scalar quantization can be") {
  // Rates and squared errors of the best quantizer with an ideal code, and a step that gives them.
  struct Row {
    bool laplace;
    double bits;
    double error;
    const char* step;
  };
  constexpr std::size_t kSide = 512;
  const auto normal = testing::NormalValues(kSide * kSide, RngStream(1));
  const auto laplace = LaplaceValues(kSide * kSide, RngStream(2));
  for (const Row& row : {Row{false, 0.5, 0.617, "2.81"}, Row{false, 1, 0.348, "2.09"},
                         Row{false, 2, 0.0889, "1.062"}, Row{false, 4, 0.00556, "0.2578"},
                         Row{true, 0.1, 0.8308, "4.66"}, Row{true, 0.25, 0.6707, "3.71"},
                         Row{true, 0.5, 0.4860, "2.89"}, Row{true, 1, 0.2618, "1.97"},
                         Row{true, 2, 0.0729, "0.982"}, Row{true, 4, 0.00479, "0.2417"}}) {
    CAPTURE(row.laplace);
    CAPTURE(row.bits);
    const auto& values = row.laplace ? laplace : normal;
    const auto codec =
        MakeCodec("dead_zone " + std::string(row.step) + " | context", {kSide, kSide});
    const auto encoded = EncodeValues(*codec, values, RngStream(3));
    const double bits =
        8 * static_cast<double>(encoded.payload.size()) / static_cast<double>(values.size());
    CHECK(bits <= row.bits + 0.01);
    // A hundredth of a bit more is worth 0.06 dB.
    const double allowed = 0.15 + 6.02 * (row.bits - bits);
    CHECK(10 * std::log10(testing::RelativeError(values, encoded.decoded) / row.error) <= allowed);
  }
}

}  // namespace
}  // namespace fl
