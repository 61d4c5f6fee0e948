#include "fl/compression/deploy/measure_model.h"

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/initialize.h"
#include "fl/compression/deploy/layer_noise.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

constexpr std::size_t kSamples = 40;

struct Fixture {
  Fixture() {
    const std::vector<std::string> layers = {"conv 4 3x3 same", "relu", "maxpool 2", "flatten",
                                             "dense 6",         "relu", "dense 3"};
    model.graph = testing::Get(nn::BuildGraph(Shape{8, 8, 1}, layers, "softmax_cross_entropy"));
    model.parameters = nn::InitializeParameters(model.graph, RngStream(1)).values;
    values.resize(kSamples * 64);
    RngStream(2).FillNormal(values);
  }
  void Quantize() {
    const auto ranges = testing::Get(nn::ObserveRanges(model.graph, model.parameters, values,
                                                       kSamples, nn::RangeMethod::kMinMax));
    model.quantized = testing::Get(nn::Quantize(model.graph, model.parameters, ranges));
  }
  data::Subset Samples() const {
    data::Samples samples;
    samples.shape = Shape{8, 8, 1};
    samples.classes = 3;
    samples.features = values;
    samples.labels.assign(kSamples, 0);
    return data::Subset(
        std::make_shared<data::Dataset>(testing::Get(data::Dataset::Create(std::move(samples)))));
  }

  WorkingModel model;
  std::vector<float> values;
};

// A clock that goes on by 50 us with each look at it.
std::int64_t TickingClock() {
  static std::int64_t now = 0;
  return now += 50'000;
}
double TickingMeter() {
  static double used = 0;
  return used += 600;
}

TEST_CASE("CostOfModel: counts what stands in the graph") {
  Fixture fixture;
  fixture.model.parameters[0] = 0;
  fixture.model.parameters.back() = 1;
  const ModelCost cost = CostOfModel(fixture.model);
  CHECK(cost.parameters == 4 * 9 + 4 + 64 * 6 + 6 + 6 * 3 + 3);
  CHECK(cost.nonzero < cost.parameters);
  CHECK(cost.multiply_accumulates >= 64 * 4 * 9 + 64 * 6 + 6 * 3);
  CHECK(cost.activation_peak == 2 * 64 * 4 * sizeof(float));  // The convolution and its ReLU.
}

TEST_CASE("CostOfModel: an integer model moves a quarter of the bytes") {
  Fixture fixture;
  const ModelCost fp32 = CostOfModel(fixture.model);
  fixture.Quantize();
  const ModelCost int8 = CostOfModel(fixture.model);
  CHECK(int8.bytes_moved == fp32.bytes_moved / 4);
  CHECK(int8.activation_peak == fp32.activation_peak / 4);
  CHECK(int8.multiply_accumulates == fp32.multiply_accumulates);
}

TEST_CASE("MeasureLatency: by the clock that it is given, in fp32 and in integers") {
  Fixture fixture;
  const Instruments instruments{
      .nanoseconds = TickingClock, .microjoules = TickingMeter, .runs = 20, .batch = 3};
  for (const bool integers : {false, true}) {
    if (integers) fixture.Quantize();
    const auto latency =
        testing::Get(MeasureLatency(fixture.model, fixture.Samples(), instruments));
    REQUIRE(latency.has_value());
    CHECK(latency->min_us > 0);
    CHECK(latency->min_us <= latency->median_us);
    CHECK(latency->median_us <= latency->p99_us);
    CHECK(latency->microjoules.value_or(0) > 0);
  }
}

TEST_CASE("MeasureLatency: nothing without a clock") {
  const Fixture fixture;
  CHECK_FALSE(testing::Get(MeasureLatency(fixture.model, fixture.Samples(), {})).has_value());
}

double NoiseOf(const std::vector<LayerNoise>& noise, std::string_view node) {
  for (const LayerNoise& row : noise) {
    if (row.node == node) return row.signal_to_noise_db;
  }
  return 0;
}

TEST_CASE("MeasureLayerNoise: one figure for each node that has memory of its own") {
  Fixture fixture;
  fixture.Quantize();
  const auto noise =
      testing::Get(MeasureLayerNoise(fixture.model.graph, fixture.model.parameters,
                                     *fixture.model.quantized, fixture.values, kSamples));
  CHECK(NoiseOf(noise, "relu1") > 25);
  CHECK(NoiseOf(noise, "relu1") < 60);
  CHECK(NoiseOf(noise, "dense2") > 20);
}

TEST_CASE("MeasureLayerNoise: a coarser scale shows at its node, and behind it") {
  Fixture fixture;
  fixture.Quantize();
  const auto fine =
      testing::Get(MeasureLayerNoise(fixture.model.graph, fixture.model.parameters,
                                     *fixture.model.quantized, fixture.values, kSamples));
  nn::QuantizedModel coarse = *fixture.model.quantized;
  for (std::size_t i = 0; i < coarse.graph.nodes.size(); ++i) {
    if (coarse.graph.nodes[i].name == "relu2") coarse.activations[i].scale *= 32;
  }
  const auto noise = testing::Get(MeasureLayerNoise(fixture.model.graph, fixture.model.parameters,
                                                    coarse, fixture.values, kSamples));
  CHECK(NoiseOf(noise, "relu1") == NoiseOf(fine, "relu1"));
  CHECK(NoiseOf(noise, "relu2") < NoiseOf(fine, "relu2") - 15);
  CHECK(NoiseOf(noise, "dense2") < NoiseOf(fine, "dense2") - 5);
}

TEST_CASE("MeasureLayerNoise: nothing without samples") {
  Fixture fixture;
  fixture.Quantize();
  CHECK(testing::Get(MeasureLayerNoise(fixture.model.graph, fixture.model.parameters,
                                       *fixture.model.quantized, {}, 0))
            .empty());
}

}  // namespace
}  // namespace fl::deploy
