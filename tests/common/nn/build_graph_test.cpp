#include "fl/common/nn/build_graph.h"

#include <doctest/doctest.h>

#include "fl/tests/common/nn/small_models.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;
using testing::Build;

struct Refusal {
  ErrorCode code;
  std::size_t layer;
  std::string message;
};

Refusal Refused(const Shape& input, const std::vector<std::string>& layers,
                std::string_view loss = "softmax_cross_entropy", const GraphLimits& limits = {}) {
  std::size_t layer = 99;
  const Result<Graph> graph = BuildGraph(input, layers, loss, &layer, limits);
  if (graph) return {ErrorCode::kOk, layer, ""};
  return {graph.error().code, layer, graph.error().message};
}

TEST_CASE("BuildGraph: shapes and parameters of the MNIST network are inferred") {
  const Graph graph =
      Build({28, 28, 1}, {"conv 32 5x5 same", "relu", "maxpool 2", "conv 64 5x5 same", "relu",
                          "maxpool 2", "flatten", "dense 512", "relu", "dense 10"});
  CHECK(graph.parameters.total() == 1663370);
  CHECK(graph.output_shape() == Shape{10});
  CHECK(graph.nodes[4].shape == Shape{14, 14, 64});
  CHECK(graph.nodes[7].shape == Shape{3136});
  CHECK(graph.parameters[0].name == "conv1.weight");
  CHECK(graph.parameters[7].name == "dense2.bias");
  CHECK(graph.parameters[2].shape == Shape{5, 5, 32, 64});
}

TEST_CASE("BuildGraph: strides and padding give the extents of TensorFlow") {
  CHECK(Build({7, 8, 3}, {"conv 4 3x3 stride=2 same"}, "mean_squared_error").output_shape() ==
        Shape{4, 4, 4});
  CHECK(Build({7, 8, 3}, {"conv 4 3x3 stride=2 valid"}, "mean_squared_error").output_shape() ==
        Shape{3, 3, 4});
  CHECK(Build({7, 8, 3}, {"avgpool 2 stride=1"}, "mean_squared_error").output_shape() ==
        Shape{6, 7, 3});
  CHECK(Build({7, 8, 3}, {"maxpool 2x3"}, "mean_squared_error").output_shape() == Shape{3, 3, 3});
  CHECK(Build({7, 8, 3}, {"global_avgpool"}).output_shape() == Shape{3});
}

TEST_CASE("DescribeLayers: its lines build the same graph") {
  const std::vector<std::string> layers = {"conv 4 3x2 stride=2 same", "relu",
                                           "maxpool 2 stride=1 valid", "avgpool 2x1 same",
                                           "global_avgpool",           "dense 5"};
  const Graph graph = Build({12, 12, 2}, layers);
  const Graph again = Build({12, 12, 2}, DescribeLayers(graph));
  CHECK(again.parameters == graph.parameters);
  CHECK(DescribeLayers(again) == DescribeLayers(graph));
  REQUIRE(again.nodes.size() == graph.nodes.size());
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    CHECK(again.nodes[i].shape == graph.nodes[i].shape);
    CHECK(again.nodes[i].stride == graph.nodes[i].stride);
    CHECK(again.nodes[i].name == graph.nodes[i].name);
  }
}

const std::vector<std::string> kBranches = {"stem: conv 16 3x3 stride=1 same",
                                            "batchnorm",
                                            "relu",
                                            "depthwise 3x3 stride=1 same",
                                            "relu6",
                                            "conv 16 1x1 stride=1 valid groups=4",
                                            "add relu1",
                                            "skip: conv 4 1x1 stride=1 valid from=stem",
                                            "concat add1 relu61",
                                            "gate: global_avgpool",
                                            "sigmoid",
                                            "multiply sigmoid1 from=concat1",
                                            "flatten",
                                            "reshape 16x16x9",
                                            "global_avgpool",
                                            "layernorm",
                                            "dense 5"};

TEST_CASE("BuildGraph: layers read the one before them or the ones that they name") {
  const Graph graph = Build({8, 8, 3}, kBranches);
  CHECK(graph.nodes[1].name == "stem");
  CHECK(graph.nodes[7].inputs == std::vector<std::size_t>{6, 3});
  CHECK(graph.nodes[8].inputs == std::vector<std::size_t>{1});
  CHECK(graph.nodes[9].shape == Shape{8, 8, 36});
  CHECK(graph.nodes[12].shape == Shape{8, 8, 36});
  const auto shape_of = [&](const char* name) {
    return graph.parameters[*graph.parameters.Find(name)].shape;
  };
  CHECK(shape_of("depthwise1.weight") == Shape{3, 3, 16});
  CHECK(shape_of("conv2.weight") == Shape{1, 1, 4, 16});
  CHECK(shape_of("batchnorm1.variance") == Shape{16});
  CHECK(shape_of("layernorm1.gamma") == Shape{9});
  CHECK(graph.statistics == std::vector<std::size_t>{4, 5});
}

TEST_CASE("DescribeLayers: branches and names are described so that they build the same graph") {
  CHECK(DescribeLayers(Build({8, 8, 3}, kBranches)) == kBranches);
  // A name that the layer would have anyway is left out; a head that nobody reads stays.
  CHECK(DescribeLayers(Build({4}, {"dense1: dense 3", "exit: dense 2", "dense 2 from=dense1"})) ==
        std::vector<std::string>{"dense 3", "exit: dense 2", "dense 2 from=dense1"});
}

TEST_CASE("BuildGraph: factors stand in the place of the weight") {
  const Graph graph = Build({28, 28, 1}, {"conv 32 5x5 same lora=4", "relu", "flatten",
                                          "dense 200 fedpara=8", "relu", "dense 10 lora=2 both"});
  const TensorLayout expected({{"conv1.weight", {5, 5, 1, 32}},
                               {"conv1.lora_a", {25, 4}},
                               {"conv1.lora_b", {4, 32}},
                               {"conv1.bias", {32}},
                               {"dense1.x1", {25088, 8}},
                               {"dense1.y1", {8, 200}},
                               {"dense1.x2", {25088, 8}},
                               {"dense1.y2", {8, 200}},
                               {"dense1.bias", {200}},
                               {"dense2.weight", {200, 10}},
                               {"dense2.lora_a", {200, 2}},
                               {"dense2.lora_b", {2, 10}},
                               {"dense2.bias", {10}}});
  CHECK(graph.parameters == expected);
  CHECK(graph.frozen == std::vector<std::size_t>{0, 1, 9});
}

TEST_CASE("DescribeLayers: factors are described so that they build the same graph") {
  const std::vector<std::string> lines = {"conv 4 3x2 stride=2 same lora=2 alpha=4", "flatten",
                                          "dense 5 fedpara=3", "dense 4 lora=2 alpha=7 both"};
  CHECK(DescribeLayers(Build({12, 12, 2}, lines)) == lines);
  CHECK(DescribeLayers(Build({9}, {"dense 5 lora=3"})).front() == "dense 5 lora=3 alpha=3");
}

TEST_CASE("BuildGraph: an error names the layer and its line and its input") {
  const Refusal refusal = Refused({28, 28, 1}, {"relu", "dense 10"});
  CHECK(refusal.code == ErrorCode::kInvalidArgument);
  CHECK(refusal.layer == 2);
  CHECK(refusal.message.find("layer 2 \"dense 10\" after 28x28x1") == 0);
}

TEST_CASE("BuildGraph: each wrong line is an invalid argument of its layer") {
  for (const char* line : {"",
                           "dens 10",
                           "dense",
                           "dense 0",
                           "dense -1",
                           "dense 10 20",
                           "dense 1e3",
                           "dense 10000000",
                           "relu 1",
                           "flatten x",
                           "conv 8",
                           "conv 8 3",
                           "conv 8 3x",
                           "conv 8 x3",
                           "conv 8 3x3 stride=0",
                           "conv 8 3x3 same valid",
                           "conv 8 3x3 stride=1 stride=1",
                           "maxpool",
                           "maxpool 2 full",
                           "conv 8 9x9",
                           "maxpool 9",
                           "conv 8 99x1 same",
                           "relu lora=2",
                           "dense lora=2",
                           "conv 8 3x3 lora=0",
                           "conv 8 3x3 lora=9",
                           "conv 8 3x3 lora=two",
                           "conv 8 3x3 lora=2 lora=2",
                           "conv 8 3x3 lora=2 fedpara=2",
                           "conv 8 3x3 lora=2 both both",
                           "conv 8 3x3 lora=2 alpha=0",
                           "conv 8 3x3 lora=2 alpha=1 alpha=1",
                           "conv 8 3x3 lora=2 same",
                           "conv 8 3x3 alpha=2",
                           "conv 8 3x3 fedpara=",
                           "conv 8 3x3 fedpara=9",
                           "conv 8 3x3 fedpara=2 both",
                           "conv 8 3x3 groups=2",
                           "conv 8 3x3 groups=1 groups=1",
                           "depthwise",
                           "depthwise 8 3x3",
                           "depthwise 3x3 groups=1",
                           "relu from=",
                           "relu from=relu2",
                           "relu from=input x",
                           "from=relu1",
                           "relu1: relu",
                           "Name: relu",
                           ": relu",
                           "only_a_name:",
                           "add",
                           "add relu9",
                           "concat conv1",
                           "reshape",
                           "reshape 8x8",
                           "reshape 8x4x1",
                           "reshape 8x8xx",
                           "reshape 1x1x8x8",
                           "batchnorm 2"}) {
    CAPTURE(line);
    const bool square = std::string_view(line) == "conv 8 3";
    const Refusal refusal = Refused({8, 8, 1}, {"relu", line, "flatten", "dense 2"});
    CHECK(refusal.code == (square ? ErrorCode::kOk : ErrorCode::kInvalidArgument));
    CHECK(refusal.layer == (square ? 0 : 2));
  }
}

TEST_CASE("BuildGraph: a wrong input or loss is layer 0") {
  CHECK(Refused({8, 8}, {"flatten"}).layer == 0);
  CHECK(Refused({8, 8}, {"flatten"}).code == ErrorCode::kInvalidArgument);
  CHECK(Refused(Shape{}, {"dense 2"}).code == ErrorCode::kInvalidArgument);
  CHECK(Refused({0}, {"dense 2"}).code == ErrorCode::kLimitExceeded);
  CHECK(Refused({8}, {"dense 2"}, "hinge").code == ErrorCode::kInvalidArgument);
  CHECK(Refused({8}, {}).code == ErrorCode::kInvalidArgument);
  CHECK(Refused({8}, {"dense 1"}).code == ErrorCode::kInvalidArgument);
}

TEST_CASE("BuildGraph: limits hold at their edge and one beyond") {
  GraphLimits limits;
  limits.parameters_max = 8 * 4 + 4;
  CHECK(Refused({8}, {"dense 4"}, "softmax_cross_entropy", limits).code == ErrorCode::kOk);
  limits.parameters_max = 8 * 4 + 3;
  CHECK(Refused({8}, {"dense 4"}, "softmax_cross_entropy", limits).code ==
        ErrorCode::kLimitExceeded);
  limits.parameters_max = 2 * (8 * 2 + 2 * 4) + 4;
  CHECK(Refused({8}, {"dense 4 fedpara=2"}, "softmax_cross_entropy", limits).code ==
        ErrorCode::kOk);
  limits.parameters_max -= 1;
  CHECK(Refused({8}, {"dense 4 fedpara=2"}, "softmax_cross_entropy", limits).code ==
        ErrorCode::kLimitExceeded);
  limits = {};
  limits.layers_max = 2;
  CHECK(Refused({8}, {"relu", "relu"}, "softmax_cross_entropy", limits).code == ErrorCode::kOk);
  CHECK(Refused({8}, {"relu", "relu", "relu"}, "softmax_cross_entropy", limits).layer == 3);
  limits = {};
  limits.activation_max = 8;
  CHECK(Refused({8}, {"relu"}, "softmax_cross_entropy", limits).code == ErrorCode::kOk);
  CHECK(Refused({9}, {"relu"}, "softmax_cross_entropy", limits).code == ErrorCode::kLimitExceeded);
  const std::size_t huge = std::size_t{1} << 60;
  CHECK(Refused({huge, huge, huge}, {"relu"}).code == ErrorCode::kLimitExceeded);
  CHECK(Refused({1048576}, {"dense 1048576"}).code == ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace fl::nn
