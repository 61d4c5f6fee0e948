#include "fl/compression/deploy/layer_inputs.h"

#include <limits>

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/session.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

using testing::CodeOf;
using testing::Get;
using Lines = std::vector<std::string>;

struct Network {
  explicit Network(const Lines& lines)
      : graph(Get(nn::BuildGraph(Shape{7, 6, 2}, lines, "mean_squared_error"))),
        parameters(nn::InitializeParameters(graph, RngStream(3)).values),
        samples(kCount * 84) {
    RngStream(4).FillNormal(samples);
  }

  static constexpr std::size_t kCount = 3;
  nn::Graph graph;
  std::vector<float> parameters;
  std::vector<float> samples;
};

TEST_CASE("ObserveLayerInputs: rows times the weight are what the convolution yields") {
  for (const char* options : {"", " same", " stride=2", " stride=2 same", " stride=3 same"}) {
    const Network network({"conv 3 3x3 same", "relu", std::string("conv 4 3x2") + options});
    const nn::Node& layer = network.graph.nodes.back();
    const LayerInputs seen = Get(
        ObserveLayerInputs(network.graph, network.parameters, 3, network.samples, Network::kCount));
    const std::size_t outputs = layer.shape.count() * Network::kCount;
    REQUIRE(seen.rows * 4 == outputs);
    nn::Session session = Get(nn::Session::Create(network.graph, Network::kCount));
    std::vector<float> expected(outputs);
    session.Run(network.parameters, network.samples, Network::kCount, expected);
    const float* weight =
        network.parameters.data() + network.graph.parameters.offset(layer.parameters[0]);
    const float* bias =
        network.parameters.data() + network.graph.parameters.offset(layer.parameters[1]);
    for (std::size_t row = 0; row < seen.rows; ++row) {
      for (std::size_t o = 0; o < 4; ++o) {
        double sum = static_cast<double>(bias[o]);
        for (std::size_t i = 0; i < 18; ++i)
          sum += static_cast<double>(seen.values[row * 18 + i] * weight[i * 4 + o]);
        CHECK(sum == doctest::Approx(expected[row * 4 + o]).epsilon(1e-4));
      }
    }
  }
}

TEST_CASE("ObserveLayerInputs: of many places some are taken, from all samples") {
  const Network network({"conv 4 1x1"});
  const LayerInputs seen = Get(ObserveLayerInputs(network.graph, network.parameters, 1,
                                                  network.samples, Network::kCount, 6));
  REQUIRE(seen.rows == 6);
  CHECK(seen.values[0] == network.samples[0]);
  CHECK(seen.values[4] == network.samples[84]);  // Two places of each sample.
}

TEST_CASE("ObserveLayerInputs: a dense layer's inputs are rows as they are") {
  const Network network({"flatten", "dense 5", "relu", "dense 4"});
  const LayerInputs first = Get(
      ObserveLayerInputs(network.graph, network.parameters, 2, network.samples, Network::kCount));
  CHECK(first.values == network.samples);
  const LayerInputs second = Get(
      ObserveLayerInputs(network.graph, network.parameters, 4, network.samples, Network::kCount));
  CHECK(second.values.size() == Network::kCount * 5);
  for (const float value : second.values) CHECK(value >= 0);
}

TEST_CASE("ObserveLayerInputs: samples that cannot be are refused") {
  Network network({"flatten", "dense 5"});
  const auto code = [&](std::size_t node, std::size_t count) {
    return CodeOf(
        ObserveLayerInputs(network.graph, network.parameters, node, network.samples, count));
  };
  CHECK(code(2, 0) == ErrorCode::kInvalidArgument);
  CHECK(code(2, 4) == ErrorCode::kInvalidArgument);
  CHECK(code(1, 3) == ErrorCode::kInvalidArgument);
  network.samples[100] = std::numeric_limits<float>::quiet_NaN();
  CHECK(code(2, 3) == ErrorCode::kNotFinite);
}

}  // namespace
}  // namespace fl::deploy
