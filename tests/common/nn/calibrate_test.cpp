#include "fl/common/nn/calibrate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "fl/common/nn/initialize.h"
#include "fl/common/nn/quantized_model.h"
#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Build;
using testing::Normals;

constexpr RangeMethod kMethods[] = {RangeMethod::kMinMax, RangeMethod::kPercentile,
                                    RangeMethod::kSquaredError, RangeMethod::kEntropy};

Histogram HistogramOf(std::span<const float> values) {
  Histogram histogram;
  Get(histogram.Add(values));
  return histogram;
}

// Mean squared error of rounding to 2^bits levels over the range.
double ErrorOver(std::span<const float> values, const ActivationRange& range, unsigned bits) {
  const double levels = std::ldexp(1.0, static_cast<int>(bits)) - 1;
  const double step = (static_cast<double>(range.high) - static_cast<double>(range.low)) / levels;
  const double zero = std::nearbyint(-static_cast<double>(range.low) / step);
  double sum = 0;
  for (const float value : values) {
    const double code =
        std::clamp(std::nearbyint(static_cast<double>(value) / step) + zero, 0.0, levels);
    sum += std::pow(static_cast<double>(value) - (code - zero) * step, 2);
  }
  return sum / static_cast<double>(values.size());
}

// Normal values of which one in five thousand is eight times as large.
std::vector<float> HeavyTailed() {
  std::vector<float> values = Normals(20000, 6);
  for (std::size_t i = 0; i < values.size(); i += 5000) values[i] *= 8;
  return values;
}

TEST_CASE("ChooseRange: on heavy tails squared error and percentile lose less than min-max") {
  const std::vector<float> values = HeavyTailed();
  const Histogram histogram = HistogramOf(values);
  for (const unsigned bits : {4U, 5U}) {
    CAPTURE(bits);
    const auto error = [&](RangeMethod method) {
      const RangeOptions options{.method = method, .bits = bits};
      return ErrorOver(values, ChooseRange(histogram, options), bits);
    };
    const double min_max = error(RangeMethod::kMinMax);
    CHECK(error(RangeMethod::kSquaredError) < 0.8 * min_max);
    CHECK(error(RangeMethod::kPercentile) < 0.95 * min_max);
    CHECK(error(RangeMethod::kSquaredError) <= error(RangeMethod::kPercentile));
  }
}

TEST_CASE("ChooseRange: entropy cuts rare outliers and keeps what is evenly spread") {
  const ActivationRange cut =
      ChooseRange(HistogramOf(HeavyTailed()), {.method = RangeMethod::kEntropy});
  CHECK(cut.high < 8);
  CHECK(cut.high > 2);
  std::vector<float> even(20000);
  RngStream(2).FillUniform(even);
  const ActivationRange kept = ChooseRange(HistogramOf(even), {.method = RangeMethod::kEntropy});
  CHECK(kept.high > 0.95F);
}

TEST_CASE("ChooseRange: each method holds zero and stays within what was seen") {
  for (const float shift : {0.0F, 5.0F, -5.0F}) {
    std::vector<float> values = Normals(4000, 8);
    for (float& value : values) value += shift;
    const Histogram histogram = HistogramOf(values);
    for (const RangeMethod method : kMethods) {
      const ActivationRange range = ChooseRange(histogram, {.method = method});
      CHECK(range.low <= 0);
      CHECK(range.high >= 0);
      CHECK(range.low >= histogram.low());
      CHECK(range.high <= histogram.high());
    }
  }
}

TEST_CASE("ChooseRange: a percentile cuts that share") {
  std::vector<float> values(1000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1);
  const Histogram histogram = HistogramOf(values);
  const auto high = [&](double percentile) {
    return ChooseRange(histogram, {.method = RangeMethod::kPercentile, .percentile = percentile})
        .high;
  };
  CHECK(high(90) == doctest::Approx(900).epsilon(0.002));
  CHECK(high(100) == 1000);
}

TEST_CASE("ChooseRange: a symmetric range has zero point 0 and the larger magnitude over 127") {
  const std::vector<float> values = {-2, 0.5F, 5.08F};
  const Histogram histogram = HistogramOf(values);
  const ActivationScale scale =
      ScaleOf(ChooseRange(histogram, {.method = RangeMethod::kMinMax, .symmetric = true}));
  CHECK(scale.zero_point == 0);
  CHECK(scale.scale == doctest::Approx(0.04));
}

TEST_CASE("ChooseRange: no values, zeros and a single value have a range") {
  for (const RangeMethod method : kMethods) {
    CHECK(ChooseRange(Histogram(), {.method = method}) == ActivationRange{0, 0});
    CHECK(ChooseRange(HistogramOf(std::vector<float>(9, 0.0F)), {.method = method}) ==
          ActivationRange{0, 0});
    const ActivationRange one = ChooseRange(HistogramOf(std::vector<float>{3}), {.method = method});
    CHECK(one.low == 0);
    CHECK(one.high > 1);
  }
}

TEST_CASE("RangeOptions: bits and percentiles that cannot be meant are refused") {
  CHECK(CodeOf(RangeOptions{.bits = 1}.Validate()) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(RangeOptions{.bits = 9}.Validate()) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(RangeOptions{.percentile = 50}.Validate()) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(RangeOptions{.percentile = 100.1}.Validate()) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(RangeOptions{.percentile = std::nan("")}.Validate()) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(RangeOptions{}.Validate()) == ErrorCode::kOk);
}

struct Bench {
  Graph graph = Build({6, 5, 2}, {"conv 4 3x3", "relu", "flatten", "dense 3"});
  std::vector<float> parameters = InitializeParameters(graph, RngStream(1)).values;
  std::vector<float> samples = Normals(96 * 60, 2);

  Result<Calibration> Observe(std::size_t first, std::size_t count) const {
    return Calibrate(graph, parameters, std::span(samples).subspan(first * 60, count * 60), count);
  }
};

TEST_CASE("Calibrate: merging the devices' calibrations gives that of all samples") {
  const Bench bench;
  const Calibration all = Get(bench.Observe(0, 96));
  Calibration merged = Get(bench.Observe(64, 32));
  Get(merged.Merge(Get(bench.Observe(0, 32))));
  Get(merged.Merge(Get(bench.Observe(32, 32))));
  CHECK(merged.samples == 96);
  CHECK(merged.histograms == all.histograms);
  CHECK(merged.ToNumbers() == all.ToNumbers());
  CHECK(all.ToNumbers().size() ==
        all.histograms.size() * Get(bench.Observe(0, 1)).histograms[0].ToNumbers().size());
  for (const RangeMethod method : kMethods)
    CHECK(Get(merged.Ranges({.method = method})) == Get(all.Ranges({.method = method})));
}

// A sample's values do not depend on which others are run beside it.
TEST_CASE("Calibrate: parts of any size merge into that of all samples, bit for bit") {
  for (const std::vector<std::string>& layers :
       {std::vector<std::string>{"conv 4 3x3", "relu", "flatten", "dense 3"},
        std::vector<std::string>{"flatten", "dense 37", "relu", "dense 10"},
        std::vector<std::string>{"depthwise 3x3 same", "conv 6 1x1", "batchnorm", "relu6",
                                 "global_avgpool", "dense 3"}}) {
    CAPTURE(layers[0]);
    Bench bench;
    bench.graph = Build({6, 5, 2}, layers);
    bench.parameters = InitializeParameters(bench.graph, RngStream(1)).values;
    const Calibration all = Get(bench.Observe(0, 96));
    Calibration merged = Get(bench.Observe(0, 1));
    std::size_t first = 1;
    for (const std::size_t count : {33U, 5U, 1U, 20U, 2U, 17U, 13U, 4U}) {
      Get(merged.Merge(Get(bench.Observe(first, count))));
      first += count;
    }
    REQUIRE(first == 96);
    CHECK(merged.histograms == all.histograms);
  }
}

TEST_CASE("Calibrate: a moving average follows the batches' extremes slowly") {
  Bench bench;
  // The last batch is ten times the others.
  for (std::size_t i = 64 * 60; i < bench.samples.size(); ++i) bench.samples[i] *= 10;
  const Calibration calibration = Get(bench.Observe(0, 96));
  const auto high = [&](RangeMethod method) {
    return Get(calibration.Ranges({.method = method}))[0].high;
  };
  CHECK(high(RangeMethod::kMinMax) > 20);
  CHECK(high(RangeMethod::kMovingAverage) > 3);
  CHECK(high(RangeMethod::kMovingAverage) < 6);
}

TEST_CASE("Calibrate: empty, constant, infinite and misshapen samples are refused") {
  Bench bench;
  CHECK(CodeOf(bench.Observe(0, 0)) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(Calibrate(bench.graph, bench.parameters, bench.samples, 95)) ==
        ErrorCode::kInvalidArgument);
  CHECK(CodeOf(Calibrate(bench.graph, std::span(bench.parameters).first(3), bench.samples, 96)) ==
        ErrorCode::kInvalidArgument);
  const std::vector<float> constant(96 * 60, 0.5F);
  CHECK(CodeOf(Calibrate(bench.graph, bench.parameters, constant, 96)) ==
        ErrorCode::kInvalidArgument);
  bench.samples[77] = std::numeric_limits<float>::quiet_NaN();
  CHECK(CodeOf(bench.Observe(0, 96)) == ErrorCode::kNotFinite);
  bench.samples[77] = 1e38F;
  std::ranges::fill(bench.parameters, 1e10F);
  CHECK(CodeOf(bench.Observe(0, 96)) == ErrorCode::kNotFinite);
  Calibration few = Get(Bench().Observe(0, 8));
  CHECK(CodeOf(few.Merge(Calibration())) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(few.Ranges({.bits = 12})) == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fl::nn
