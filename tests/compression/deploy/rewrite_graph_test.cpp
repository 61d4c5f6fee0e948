#include "fl/compression/deploy/rewrite_graph.h"

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/tests/compression/deploy/random_graph.h"
#include "fl/tests/support/property.h"

namespace fl::deploy {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using Lines = std::vector<std::string>;

nn::Graph Build(const Shape& input, const Lines& lines) {
  return Get(nn::BuildGraph(input, lines, "mean_squared_error"));
}

// conv1 relu1 conv2 relu2 add1 flatten1 dense1
nn::Graph SmallResidual() {
  return Build(Shape{4, 4, 2}, {"conv 4 3x3 same", "relu", "conv 4 3x3 same", "relu", "add relu1",
                                "flatten", "dense 3"});
}

TEST_CASE("GraphEditor: rewriting nothing changes nothing") {
  fl::testing::ForAll(100, [](RngStream& rng) {
    const nn::Graph graph = testing::RandomGraph(rng.Child("graph")).Build();
    const std::vector<float> parameters = testing::RandomParameters(graph, rng.Child("values"));
    GraphEditor editor(graph);
    editor.RemoveUnread();
    const nn::Graph same = Get(editor.Build());
    CHECK(nn::DescribeLayers(same) == nn::DescribeLayers(graph));
    CHECK(same.parameters == graph.parameters);
    CHECK(same.frozen == graph.frozen);
    CHECK(same.statistics == graph.statistics);
    CHECK(Get(CarryTensors(graph, parameters, same)) == parameters);
  });
}

TEST_CASE("GraphEditor: frozen tensors stay frozen, by name") {
  nn::Graph graph = SmallResidual();
  graph.frozen = {2, 3};
  GraphEditor editor(graph);
  REQUIRE(editor.InsertAfter("input", "first: conv 2 1x1"));
  const nn::Graph longer = Get(editor.Build());
  REQUIRE(longer.frozen.size() == 2);
  CHECK(longer.parameters[longer.frozen[0]].name == "conv2.weight");
  CHECK(longer.parameters[longer.frozen[1]].name == "conv2.bias");
}

TEST_CASE("GraphEditor: channels change, and all that follows from them") {
  GraphEditor editor(SmallResidual());
  REQUIRE(editor.SetChannels("conv1", 2));
  REQUIRE(editor.SetChannels("conv2", 2));
  REQUIRE(editor.SetChannels("dense1", 5));
  CHECK(nn::DescribeLayers(Get(editor.Build())) == Lines{"conv 2 3x3 stride=1 same", "relu",
                                                         "conv 2 3x3 stride=1 same", "relu",
                                                         "add relu1", "flatten", "dense 5"});
  REQUIRE(editor.SetChannels("conv2", 3));
  CHECK(CodeOf(editor.Build()) == ErrorCode::kInvalidArgument);
}

TEST_CASE("GraphEditor: groups and reshapes are set, and of nothing else") {
  GraphEditor editor(Build(Shape{2, 2, 4}, {"conv 4 1x1 groups=2", "reshape 4x1x4", "conv 4 1x1"}));
  REQUIRE(editor.SetGroups("conv1", 4));
  REQUIRE(editor.SetGroups("conv2", 2));
  REQUIRE(editor.SetShape("reshape1", Shape{1, 4, 4}));
  const nn::Graph graph = Get(editor.Build());
  CHECK(graph.nodes[1].groups == 4);
  CHECK(graph.nodes[2].shape == Shape{1, 4, 4});
  CHECK(graph.nodes[3].groups == 2);
  CHECK(CodeOf(editor.SetGroups("reshape1", 2)) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(editor.SetShape("conv1", Shape{1, 4, 4})) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(editor.SetChannels("reshape1", 2)) == ErrorCode::kInvalidArgument);
}

TEST_CASE("GraphEditor: an inserted node is read in the place of the one before it") {
  GraphEditor editor(SmallResidual());
  REQUIRE(editor.InsertAfter("conv1", "norm: batchnorm"));
  REQUIRE(editor.InsertAfter("dense1", "scores: tanh"));
  const nn::Graph graph = Get(editor.Build());
  CHECK(graph.nodes[2].name == "norm");
  CHECK(graph.nodes[3].name == "relu1");
  CHECK(graph.nodes[3].inputs == std::vector<std::size_t>{2});
  CHECK(graph.nodes.back().name == "scores");
  CHECK(CodeOf(editor.InsertAfter("conv1", "batchnorm")) == ErrorCode::kInvalidArgument);
}

TEST_CASE("GraphEditor: a chain stands in for a node, under its name") {
  GraphEditor editor(SmallResidual());
  REQUIRE(editor.Replace("conv2", Lines{"conv2_a: conv 2 3x1 same", "conv2: conv 4 1x3 same"}));
  const nn::Graph graph = Get(editor.Build());
  CHECK(graph.nodes[3].name == "conv2_a");
  CHECK(graph.nodes[4].name == "conv2");
  CHECK(graph.nodes[5].inputs == std::vector<std::size_t>{4});
  CHECK(CodeOf(editor.Replace("add1", Lines{"tanh"})) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(editor.Replace("relu1", Lines{})) == ErrorCode::kInvalidArgument);
}

TEST_CASE("GraphEditor: removing an add's branch takes all that only the branch read") {
  GraphEditor editor(SmallResidual());
  REQUIRE(editor.Remove("add1", 1));
  editor.RemoveUnread();
  CHECK(nn::DescribeLayers(Get(editor.Build())) ==
        Lines{"conv 4 3x3 stride=1 same", "relu", "flatten", "dense 3"});
}

TEST_CASE("GraphEditor: the output is removed only where its input becomes it") {
  GraphEditor editor(SmallResidual());
  REQUIRE(editor.Remove("dense1"));
  CHECK(Get(editor.Build()).nodes.back().name == "flatten1");
  REQUIRE(editor.Remove("flatten1"));
  CHECK(CodeOf(editor.Remove("add1", 1)) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(editor.Remove("add1", 2)) == ErrorCode::kInvalidArgument);
}

TEST_CASE("GraphEditor: an unknown layer is named with those that exist") {
  GraphEditor editor(SmallResidual());
  const auto removed = editor.Remove("conv9");
  REQUIRE(!removed);
  CHECK(removed.error().code == ErrorCode::kNotFound);
  CHECK(removed.error().message ==
        "expected one of the layers conv1, relu1, conv2, relu2, add1, flatten1, dense1; found "
        "\"conv9\"");
  CHECK(FindNode(SmallResidual(), "conv9").error() == removed.error());
  CHECK(Get(FindNode(SmallResidual(), "conv2")) == 3);
}

TEST_CASE("SelectAlongAxis: keeps the slices in their order") {
  const std::vector<int> values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const std::vector<std::size_t> kept = {0, 2};
  CHECK(SelectAlongAxis<int>(values, Shape{2, 3, 2}, 1, kept) ==
        std::vector<int>{0, 1, 4, 5, 6, 7, 10, 11});
  CHECK(SelectAlongAxis<int>(values, Shape{4, 3}, 1, kept) ==
        std::vector<int>{0, 2, 3, 5, 6, 8, 9, 11});
}

TEST_CASE("CarryTensors: selections along both axes, fresh tensors, and what is missing") {
  const nn::Graph from = Build(Shape{3}, {"dense 3", "dense 2"});
  std::vector<float> parameters(from.parameters.total());
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i] = static_cast<float>(i);
  const nn::Graph to = Build(Shape{3}, {"dense 2", "dense 2"});
  const std::vector<std::size_t> kept = {0, 2};
  const std::vector<AxisSelection> selections = {
      {"dense1.weight", 1, kept}, {"dense1.bias", 0, kept}, {"dense2.weight", 0, kept}};
  CHECK(Get(CarryTensors(from, parameters, to, selections, {{"dense2.bias", {7, 8}}})) ==
        std::vector<float>{0, 2, 3, 5, 6, 8, 9, 11, 12, 13, 16, 17, 7, 8});
  CHECK(CodeOf(CarryTensors(from, parameters, to)) == ErrorCode::kShapeMismatch);
  const nn::Graph renamed = Build(Shape{3}, {"first: dense 3", "dense2: dense 2"});
  CHECK(CodeOf(CarryTensors(from, parameters, renamed)) == ErrorCode::kNotFound);
}

}  // namespace
}  // namespace fl::deploy
