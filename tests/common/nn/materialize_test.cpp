#include "fl/common/nn/materialize.h"

#include <cmath>

#include <doctest/doctest.h>

#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/nn/plain_graph.h"
#include "fl/common/nn/session.h"
#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Build;
using testing::Normals;

Graph ImageGraph() {
  return Build({6, 5, 2}, {"conv 4 3x2 same fedpara=3", "relu", "conv 5 3x3 lora=2 alpha=3 both",
                           "flatten", "dense 7 lora=2", "relu", "dense 3"});
}

// Every tensor random, B of LoRA too.
NamedTensors Filled(const Graph& graph) {
  NamedTensors tensors(graph.parameters);
  tensors.values = Normals(tensors.values.size(), 9);
  return tensors;
}

double Entry(const NamedTensors& tensors, std::string_view name, std::size_t row,
             std::size_t column) {
  const std::size_t tensor = *tensors.layout.Find(name);
  const Shape& shape = tensors.layout[tensor].shape;
  return static_cast<double>(tensors.tensor(tensor)[row * shape[shape.rank() - 1] + column]);
}

double ProductEntry(const NamedTensors& tensors, const std::string& a, const std::string& b,
                    std::size_t row, std::size_t column) {
  double sum = 0;
  const std::size_t rank = tensors.layout[*tensors.layout.Find(b)].shape[0];
  for (std::size_t k = 0; k < rank; ++k) {
    sum += Entry(tensors, a, row, k) * Entry(tensors, b, k, column);
  }
  return sum;
}

TEST_CASE("Materialize: LoRA's weight is the frozen one and the scaled product") {
  const Graph graph = Build({9}, {"dense 6 lora=3 alpha=12"});
  const NamedTensors tensors = Filled(graph);
  const FloatModel model = Get(Materialize(graph, tensors.values));
  REQUIRE(model.graph.parameters.total() == 9 * 6 + 6);
  CHECK(model.graph.frozen.empty());
  for (std::size_t row = 0; row < 9; ++row) {
    for (std::size_t column = 0; column < 6; ++column) {
      const double expected =
          Entry(tensors, "dense1.weight", row, column) +
          4 * ProductEntry(tensors, "dense1.lora_a", "dense1.lora_b", row, column);
      CHECK(static_cast<double>(model.parameters[row * 6 + column]) ==
            doctest::Approx(expected).epsilon(1e-4));
    }
  }
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(model.parameters[54 + i] == tensors.tensor(3)[i]);
  }
}

TEST_CASE("Materialize: FedPara's weight is the elementwise product of two products") {
  const Graph graph = Build({4, 4, 2}, {"conv 5 2x3 fedpara=2"}, "mean_squared_error");
  const NamedTensors tensors = Filled(graph);
  const FloatModel model = Get(Materialize(graph, tensors.values));
  REQUIRE(model.graph.parameters[0] == TensorSpec{"conv1.weight", {2, 3, 2, 5}});
  for (std::size_t row = 0; row < 12; ++row) {
    for (std::size_t column = 0; column < 5; ++column) {
      const double expected = ProductEntry(tensors, "conv1.x1", "conv1.y1", row, column) *
                              ProductEntry(tensors, "conv1.x2", "conv1.y2", row, column);
      CHECK(static_cast<double>(model.parameters[row * 5 + column]) ==
            doctest::Approx(expected).epsilon(1e-4));
    }
  }
}

TEST_CASE("Materialize: the plain model's outputs are those of the factored one") {
  const Graph graph = ImageGraph();
  const NamedTensors tensors = Filled(graph);
  const FloatModel model = Get(Materialize(graph, tensors.values));
  CHECK_FALSE(IsFactored(model.graph));
  const std::vector<float> input = Normals(5 * 60, 3);
  std::vector<float> factored(5 * 3);
  std::vector<float> plain(5 * 3);
  Get(Session::Create(graph, 5)).Run(tensors.values, input, 5, factored);
  Get(Session::Create(model.graph, 5)).Run(model.parameters, input, 5, plain);
  CHECK(factored == plain);
}

TEST_CASE("Materialize: a plain model keeps its values and nothing is frozen") {
  Graph graph = Build({5}, {"dense 4", "relu", "dense 3"});
  graph.frozen = {0, 1};
  const NamedTensors tensors = Filled(graph);
  const FloatModel model = Get(Materialize(graph, tensors.values));
  CHECK(model.parameters == tensors.values);
  CHECK(model.graph.parameters == graph.parameters);
  CHECK(model.graph.frozen.empty());
}

TEST_CASE("PlainGraph: a weight is frozen where all that it is made of is") {
  Graph graph = Build({5}, {"dense 4 lora=2", "relu", "dense 3 fedpara=2"});
  CHECK(graph.frozen == std::vector<std::size_t>{0, 1});
  CHECK(PlainGraph(graph).frozen.empty());
  graph.frozen = {0, 1, 2, 4, 5, 6, 8};
  CHECK(PlainGraph(graph).frozen == std::vector<std::size_t>{0, 3});
}

TEST_CASE("TrainedRanges: adjacent tensors are one range") {
  Graph graph = Build({5}, {"dense 4", "relu", "dense 3"});
  CHECK(TrainedRanges(graph) == std::vector<CoordinateRange>{{0, 39}});
  graph.frozen = {1, 3};
  CHECK(TrainedRanges(graph) == std::vector<CoordinateRange>{{0, 20}, {24, 12}});
  graph.frozen = {0, 1, 2, 3};
  CHECK(TrainedRanges(graph).empty());
}

TEST_CASE("InitializeParameters: a layer with LoRA begins as its frozen weight") {
  const Graph graph = Build({100}, {"dense 50 lora=8"});
  const NamedTensors tensors = InitializeParameters(graph, RngStream(1));
  const FloatModel model = Get(Materialize(graph, tensors.values));
  const std::span<const float> weight = tensors.tensor(0);
  CHECK(std::equal(weight.begin(), weight.end(), model.parameters.begin()));
  CHECK(NormL2(tensors.tensor(1)) == doctest::Approx(std::sqrt(8.0)).epsilon(0.1));
}

TEST_CASE("InitializeParameters: FedPara's weight has the variance of He") {
  for (const char* line : {"dense 300 fedpara=4", "dense 300 fedpara=30"}) {
    CAPTURE(line);
    const Graph graph = Build({200}, {line});
    const NamedTensors tensors = InitializeParameters(graph, RngStream(1));
    const FloatModel model = Get(Materialize(graph, tensors.values));
    const double norm = NormL2(std::span(model.parameters).first(200 * 300));
    CHECK(norm * norm / (200 * 300) == doctest::Approx(2.0 / 200).epsilon(0.15));
  }
}

TEST_CASE("Quantize: a model with factors is refused until it is plain") {
  const Graph graph = Build({5}, {"dense 4 fedpara=2", "relu", "dense 3"});
  const NamedTensors tensors = Filled(graph);
  const std::vector<float> samples = Normals(8 * 5, 3);
  const auto observe = [&](const Graph& of, std::span<const float> parameters) {
    return ObserveRanges(of, parameters, samples, 8, RangeMethod::kMinMax);
  };
  CHECK(CodeOf(observe(graph, tensors.values)) == ErrorCode::kUnsupported);
  const FloatModel model = Get(Materialize(graph, tensors.values));
  const auto ranges = Get(observe(model.graph, model.parameters));
  CHECK(CodeOf(Quantize(graph, tensors.values, ranges)) == ErrorCode::kUnsupported);
  CHECK(Get(Quantize(model.graph, model.parameters, ranges)).Validate().has_value());
}

TEST_CASE("ModelFile: a factored fp32 model is read back as it was and int8 ones are refused") {
  const Graph graph = ImageGraph();
  ModelFile file;
  file.model = FloatModel{graph, Filled(graph).values};
  const Bytes bytes = SerializeModelFile(file);
  const ModelFile again = Get(ParseModelFile(bytes));
  CHECK(again.graph().parameters == graph.parameters);
  CHECK(again.graph().frozen == graph.frozen);
  CHECK(SerializeModelFile(again) == bytes);
  std::string text(AsText(bytes));
  const std::size_t at = text.find("fp32");
  REQUIRE(at != std::string::npos);
  text.replace(at, 4, "int8");
  CHECK(CodeOf(ParseModelFile(AsBytes(text))) == ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace fl::nn
