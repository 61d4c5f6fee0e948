#include "fl/common/nn/weight_grid.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Normals;

// 0: by channel.
WeightSpec Grouped(std::uint8_t bits, std::size_t group, bool asymmetric = false) {
  WeightSpec spec{.bits = bits, .asymmetric = asymmetric};
  if (group == 0) return spec;
  spec.scaling = WeightScaling::kGroup;
  spec.group = group;
  return spec;
}

double Loss(const WeightMatrix& weight, const WeightSpec& coding,
            WeightClip clip = WeightClip::kSquaredError) {
  const WeightGrid grid = Get(FitWeightGrid(weight, coding, clip));
  std::vector<float> rounded(weight.values.size());
  RoundToGrid(grid, weight.values, rounded);
  double sum = 0;
  for (std::size_t i = 0; i < rounded.size(); ++i) {
    const double lost = static_cast<double>(rounded[i]) - static_cast<double>(weight.values[i]);
    sum += lost * lost;
  }
  return sum;
}

// Columns of different size, and in each a run of inputs that is ten times the others.
std::vector<float> UnevenWeight(std::size_t depth, std::size_t channels) {
  std::vector<float> values = Normals(depth * channels, 4);
  for (std::size_t k = 0; k < depth; ++k) {
    for (std::size_t c = 0; c < channels; ++c) {
      values[k * channels + c] *= static_cast<float>(c + 1);
      if (k < 16) values[k * channels + c] *= 10;
    }
  }
  return values;
}

TEST_CASE("WeightGrid: the smaller what shares a scale, the less is lost") {
  const std::vector<float> values = UnevenWeight(100, 6);
  const WeightMatrix weight{values, 6};
  for (const std::uint8_t bits : {std::uint8_t{3}, std::uint8_t{4}}) {
    const double tensor = Loss(weight, {.bits = bits, .scaling = WeightScaling::kTensor});
    const double channel = Loss(weight, {.bits = bits});
    const double group = Loss(weight, Grouped(bits, 16));
    CHECK(channel < 0.8 * tensor);
    CHECK(group < 0.5 * channel);
  }
}

TEST_CASE("WeightGrid: a bit more loses less, and squared error never more than min-max") {
  const std::vector<float> values = UnevenWeight(100, 6);
  const WeightMatrix weight{values, 6};
  for (const bool asymmetric : {false, true}) {
    for (const std::uint32_t group : {0U, 32U}) {
      double last = std::numeric_limits<double>::infinity();
      const std::uint8_t bits_max = asymmetric || group > 0 ? 7 : 8;
      for (std::uint8_t bits = 2; bits <= bits_max; ++bits) {
        const WeightSpec coding = Grouped(bits, group, asymmetric);
        const double loss = Loss(weight, coding);
        CHECK(loss <= Loss(weight, coding, WeightClip::kMinMax));
        // Groups of 7 bits and more have the channel's scale: no whole multiple of it is left.
        if (group == 0 || bits < 7) CHECK(loss < last);
        last = loss;
      }
    }
  }
}

TEST_CASE("WeightGrid: asymmetric codes lose less where the values are on one side") {
  std::vector<float> values = Normals(64 * 4, 9);
  for (float& value : values) value = std::abs(value);
  const WeightMatrix weight{values, 4};
  CHECK(Loss(weight, {.bits = 4, .asymmetric = true}) < 0.5 * Loss(weight, {.bits = 4}));
}

TEST_CASE("WeightGrid: what is on the grid stays as it is, and fits the engine's 8 bits") {
  const std::vector<float> values = UnevenWeight(70, 5);
  const WeightMatrix weight{values, 5};
  for (std::uint8_t bits = 2; bits <= 8; ++bits) {
    for (const bool asymmetric : {false, true}) {
      if (asymmetric && bits == 8) continue;
      for (const std::uint32_t group : {0U, 16U, 32U, 200U}) {
        if (bits == 8 && group > 0) continue;
        const WeightSpec coding = Grouped(bits, group, asymmetric);
        const WeightGrid grid = Get(FitWeightGrid(weight, coding, WeightClip::kSquaredError));
        std::vector<std::int16_t> codes(values.size());
        std::vector<std::int16_t> again(values.size());
        std::vector<float> rounded(values.size());
        RoundToCodes(grid, values, codes);
        ValuesOfCodes(grid, codes, rounded);
        RoundToCodes(grid, rounded, again);
        CHECK(codes == again);
        for (std::size_t i = 0; i < codes.size(); ++i) {
          const std::size_t at = grid.GroupOf(i / 5, i % 5);
          CHECK(codes[i] >= grid.code_min());
          CHECK(codes[i] <= grid.code_max());
          CHECK(std::abs(grid.multiplier[at] * (codes[i] - grid.zero[at])) <= 127);
        }
      }
    }
  }
}

TEST_CASE("WeightGrid: zeros stay zeros") {
  std::vector<float> values = UnevenWeight(40, 3);
  for (std::size_t i = 0; i < values.size(); i += 2) values[i] = 0;
  for (std::size_t k = 0; k < 40; ++k) values[k * 3 + 1] = 0;  // A whole channel.
  for (const bool asymmetric : {false, true}) {
    const WeightSpec coding = Grouped(3, 8, asymmetric);
    const WeightGrid grid = Get(FitWeightGrid({values, 3}, coding, WeightClip::kSquaredError));
    std::vector<float> rounded(values.size());
    RoundToGrid(grid, values, rounded);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] == 0) CHECK(rounded[i] == 0);
    }
  }
}

TEST_CASE("WeightGrid: codings that cannot be meant are refused") {
  const std::vector<float> values = Normals(12, 1);
  const auto code = [&](const WeightSpec& coding) {
    return CodeOf(FitWeightGrid({values, 3}, coding, WeightClip::kMinMax));
  };
  CHECK(code({.bits = 1}) == ErrorCode::kInvalidArgument);
  CHECK(code({.bits = 9}) == ErrorCode::kInvalidArgument);
  CHECK(code({.bits = 8, .asymmetric = true}) == ErrorCode::kInvalidArgument);
  CHECK(code(Grouped(4, 1)) == ErrorCode::kInvalidArgument);
  CHECK(code(Grouped(8, 32)) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(FitWeightGrid({values, 5}, {}, WeightClip::kMinMax)) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(FitWeightGrid({{}, 5}, {}, WeightClip::kMinMax)) == ErrorCode::kInvalidArgument);
  std::vector<float> bad = values;
  bad[2] = std::numeric_limits<float>::infinity();
  CHECK(CodeOf(FitWeightGrid({bad, 3}, {}, WeightClip::kMinMax)) == ErrorCode::kNotFinite);
}

TEST_CASE("CodeOnGrid: the engine's integers stand for the rounded values, output channel first") {
  const std::vector<float> values = UnevenWeight(70, 5);
  for (const WeightSpec& spec : {Grouped(8, 0), Grouped(4, 16), Grouped(3, 0, true)}) {
    const WeightGrid grid = Get(FitWeightGrid({values, 5}, spec, WeightClip::kSquaredError));
    const CodedWeight coded = CodeOnGrid(grid, values, std::vector<float>(5, 0.0F));
    CHECK(WhyNotCoded(coded, 70).empty());
    std::vector<float> rounded(values.size());
    RoundToGrid(grid, values, rounded);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t channel = i % 5;
      const auto engine = static_cast<float>(coded.weight[channel * 70 + i / 5]);
      CHECK(coded.weight_scale[channel] * engine == rounded[i]);
    }
    const CodedWeight raised = CodeOnGrid(grid, values, std::vector<float>(5, 1000.0F));
    CHECK(WhyNotCoded(raised, 70).empty());
    CHECK(raised.weight_scale == std::vector<float>(5, 1000.0F));
  }
}

TEST_CASE("WeightBits: 4 bits in groups of 32 are 4.25 a weight") {
  CHECK(WeightBits(Grouped(4, 32), 64, 10) == 640 * 17 / 4);
  CHECK(WeightBits(Grouped(4, 32, true), 64, 10) == 640 * 18 / 4);
  CHECK(WeightBits({.bits = 8}, 64, 10) == 640 * 8);
  CHECK(WeightBits({.bits = 4}, 64, 10) == 640 * 4 + 80);
  CHECK(WeightBits(Grouped(4, 32), 33, 1) == 33 * 4 + 16);
}

}  // namespace
}  // namespace fl::nn
