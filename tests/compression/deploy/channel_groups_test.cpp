#include "fl/compression/deploy/channel_groups.h"

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/compression/deploy/rewrite_graph.h"
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

// "conv1+conv2 8": the owners' names and the units; what must stay whole with the reason behind.
Lines Describe(const nn::Graph& graph) {
  Lines lines;
  for (const ChannelGroup& group : Get(FindChannelGroups(graph)).groups) {
    std::string line;
    for (const std::size_t owner : group.owners)
      line += (line.empty() ? "" : "+") + graph.nodes[owner].name;
    line += " " + std::to_string(group.units.size());
    if (group.width > 1) line += "x" + std::to_string(group.width);
    if (!group.why_whole.empty()) line += ": " + group.why_whole;
    lines.push_back(line);
  }
  return lines;
}

TEST_CASE("FindChannelGroups: a chain has a group a layer, and the output stays whole") {
  CHECK(Describe(Build(Shape{4, 4, 1}, {"conv 8 3x3", "batchnorm", "relu", "maxpool 2", "flatten",
                                        "dense 6", "relu", "dense 3"})) ==
        Lines{"conv1 8", "dense1 6", "dense2 3: dense2 is an output"});
}

TEST_CASE("FindChannelGroups: a residual stage is one group") {
  // Two blocks of ResNet: the stem and the second convolutions of both blocks share channels.
  CHECK(Describe(Build(Shape{8, 8, 3},
                       {"stem: conv 8 3x3 same", "batchnorm", "relu", "a1: conv 4 3x3 same", "relu",
                        "a2: conv 8 3x3 same", "sum_a: add relu1", "relu", "b1: conv 6 3x3 same",
                        "relu", "b2: conv 8 3x3 same", "sum_b: add relu3",
                        "down: conv 16 3x3 stride=2 same", "relu", "c2: conv 16 3x3 same",
                        "short: conv 16 1x1 stride=2 from=sum_b", "add c2", "global_avgpool",
                        "dense 5"})) == Lines{"stem+a2+b2 8", "a1 4", "b1 6", "down 16",
                                              "c2+short 16", "dense1 5: dense1 is an output"});
}

TEST_CASE("FindChannelGroups: a concat keeps its operands apart, at their offsets") {
  const nn::Graph graph = Build(
      Shape{4, 4, 2}, {"a: conv 4 1x1", "b: conv 2 1x1 from=input", "concat a", "c: conv 3 1x1",
                       "sum: conv 6 1x1 from=concat1", "add concat1", "conv 2 1x1"});
  CHECK(Describe(graph) ==
        Lines{"a+sum 4", "b+sum 2", "c 3: c is an output", "conv5 2: conv5 is an output"});
  const ChannelGroups groups = Get(FindChannelGroups(graph));
  // The concat holds b first, which is its input, then a.
  std::vector<std::uint8_t> removed(groups.unit_count, 0);
  removed[groups.units[1][0]] = 1;
  CHECK(KeptIndices(groups, 1, removed) == std::vector<std::size_t>{1, 2, 3});
  CHECK(KeptIndices(groups, 2, removed) == std::vector<std::size_t>{0, 1});
  CHECK(KeptIndices(groups, 3, removed) == std::vector<std::size_t>{0, 1, 3, 4, 5});
}

TEST_CASE("FindChannelGroups: depthwise passes channels on, flatten repeats them") {
  const nn::Graph graph =
      Build(Shape{2, 2, 1}, {"conv 3 1x1", "depthwise 2x2 same", "flatten", "dense 4", "dense 2"});
  CHECK(Describe(graph) == Lines{"conv1 3", "dense1 4", "dense2 2: dense2 is an output"});
  const ChannelGroups groups = Get(FindChannelGroups(graph));
  std::vector<std::uint8_t> removed(groups.unit_count, 0);
  removed[groups.units[1][1]] = 1;
  CHECK(KeptIndices(groups, 2, removed) == std::vector<std::size_t>{0, 2});
  CHECK(KeptIndices(groups, 3, removed) == std::vector<std::size_t>{0, 2, 3, 5, 6, 8, 9, 11});
}

TEST_CASE("FindChannelGroups: squeeze and excite ties the scales to what they scale") {
  CHECK(
      Describe(Build(Shape{4, 4, 3}, {"conv 8 3x3 same", "relu", "global_avgpool", "dense 2",
                                      "relu", "dense 8", "sigmoid", "multiply sigmoid1 from=relu1",
                                      "conv 4 1x1", "global_avgpool"})) ==
      Lines{"conv1+dense2 8", "dense1 2", "conv2 4: global_avgpool2 is an output"});
}

TEST_CASE("FindChannelGroups: grouped convolutions keep whole groups") {
  const nn::Graph graph = Build(
      Shape{4, 4, 1}, {"conv 8 1x1", "relu", "conv 12 3x3 groups=4", "relu", "flatten", "dense 2"});
  CHECK(Describe(graph) == Lines{"conv1+conv2 4", "dense1 2: dense1 is an output"});
  const ChannelGroups groups = Get(FindChannelGroups(graph));
  std::vector<std::uint8_t> removed(groups.unit_count, 0);
  removed[groups.groups[0].units[1]] = 1;
  CHECK(KeptIndices(groups, 1, removed) == std::vector<std::size_t>{0, 1, 4, 5, 6, 7});
  CHECK(KeptIndices(groups, 3, removed) == std::vector<std::size_t>{0, 1, 2, 6, 7, 8, 9, 10, 11});
}

TEST_CASE("FindChannelGroups: what is read by all, or is the input, stays whole") {
  CHECK(Describe(Build(Shape{4}, {"dense 4", "layernorm", "dense 6", "reshape 1x1x6", "flatten",
                                  "dense 2"})) == Lines{"dense1 4: layernorm1 needs all channels",
                                                        "dense2 6: reshape1 needs all channels",
                                                        "dense3 2: dense3 is an output"});
  CHECK(Describe(Build(Shape{4, 4, 2}, {"conv 2 1x1", "add input", "relu", "conv 3 1x1"})) ==
        Lines{"conv1 2: it holds the graph's input", "conv2 3: conv2 is an output"});
}

TEST_CASE("FindChannelGroups: weights made of factors are refused") {
  CHECK(CodeOf(FindChannelGroups(Build(Shape{4}, {"dense 4 lora=1", "dense 2"}))) ==
        ErrorCode::kUnsupported);
}

TEST_CASE("ChannelGroup: steps keep multiples in every owner") {
  CHECK(ChannelGroup{{}, {}, 1, ""}.StepFor(8) == 8);
  CHECK(ChannelGroup{{}, {}, 2, ""}.StepFor(8) == 4);
  CHECK(ChannelGroup{{}, {}, 3, ""}.StepFor(8) == 8);
  CHECK(ChannelGroup{{}, {}, 16, ""}.StepFor(8) == 1);
}

TEST_CASE("SizeOf: multiplications and parameters by hand") {
  const ModelSize size =
      SizeOf(Build(Shape{4, 4, 2}, {"conv 4 3x3", "batchnorm", "depthwise 2x2",
                                    "conv 6 1x1 groups=2", "flatten", "dense 3"}));
  CHECK(size.macs == 4 * (9 * 2 * 4) + 1 * (4 * 4) + 1 * (2 * 6) + 6 * 3);
  CHECK(size.parameters == (72 + 4) + 16 + (16 + 4) + (12 + 6) + (18 + 3));
}

TEST_CASE("SizeWithout: says what the smaller graph has") {
  fl::testing::ForAll(50, [](RngStream& rng) {
    const nn::Graph graph = testing::RandomGraph(rng.Child("graph")).Build();
    CHECK(SizeOf(graph).parameters == static_cast<double>(graph.parameters.total()));
    const ChannelGroups groups = Get(FindChannelGroups(graph));
    const std::vector<std::uint8_t> removed(groups.unit_count, 0);
    CHECK(SizeWithout(graph, groups, removed) == SizeOf(graph));
  });
}

}  // namespace
}  // namespace fl::deploy
