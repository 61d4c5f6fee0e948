#include "fl/compression/deploy/remove_channels.h"

#include <doctest/doctest.h>

#include "fl/common/nn/session.h"
#include "fl/compression/deploy/rewrite_graph.h"
#include "fl/tests/compression/deploy/random_graph.h"
#include "fl/tests/support/property.h"

namespace fl::deploy {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using Lines = std::vector<std::string>;

constexpr std::size_t kBatch = 3;

nn::Graph Build(const Shape& input, const Lines& lines) {
  return Get(nn::BuildGraph(input, lines, "mean_squared_error"));
}

std::vector<float> Outputs(const nn::Graph& graph, std::span<const float> parameters,
                           std::span<const float> input) {
  nn::Session session = Get(nn::Session::Create(graph, kBatch));
  std::vector<float> outputs(kBatch * graph.output_shape().count());
  session.Run(parameters, input, kBatch, outputs);
  return outputs;
}

// Removes about half of each group that may lose units; at least one stays.
std::vector<std::uint8_t> RemoveSome(const ChannelGroups& groups, RngStream& rng) {
  std::vector<std::uint8_t> removed(groups.unit_count, 0);
  for (const ChannelGroup& group : groups.groups) {
    if (!group.why_whole.empty()) continue;
    for (const std::uint32_t unit : std::span(group.units).subspan(1))
      removed[unit] = static_cast<std::uint8_t>(rng.UniformInteger(2));
  }
  return removed;
}

// The largest difference between the masked and the smaller model on random inputs, relative to the
// largest output (at least 1).
double Difference(const nn::Graph& graph, std::vector<float> parameters,
                  const ChannelGroups& groups, std::span<const std::uint8_t> removed,
                  RngStream& rng) {
  const SmallerModel smaller = Get(RemoveChannels(graph, parameters, groups, removed));
  MaskChannels(graph, groups, removed, parameters);
  std::vector<float> input(kBatch * graph.input_shape().count());
  rng.FillNormal(input);
  const std::vector<float> masked = Outputs(graph, parameters, input);
  const std::vector<float> shrunk = Outputs(smaller.graph, smaller.parameters, input);
  REQUIRE(masked.size() == shrunk.size());
  double largest = 1;
  double difference = 0;
  for (std::size_t i = 0; i < masked.size(); ++i) {
    largest = std::max<double>(largest, std::abs(masked[i]));
    difference = std::max<double>(difference, std::abs(masked[i] - shrunk[i]));
  }
  return difference / largest;
}

TEST_CASE("RemoveChannels: a chain says what its masked model says") {
  fl::testing::ForAll(30, [](RngStream& rng) {
    const nn::Graph graph =
        Build(Shape{9, 9, 2}, {"conv 6 3x3", "relu", "maxpool 2", "conv 8 2x2", "relu", "flatten",
                               "dense 12", "relu", "dense 4"});
    const ChannelGroups groups = Get(FindChannelGroups(graph));
    const std::vector<std::uint8_t> removed = RemoveSome(groups, rng);
    CHECK(Difference(graph, testing::RandomParameters(graph, rng.Child("values")), groups, removed,
                     rng) < 1e-5);
  });
}

TEST_CASE("RemoveChannels: random graphs of every operator say what their masked models say") {
  std::size_t exact = 0;
  fl::testing::ForAll(300, [&](RngStream& rng) {
    const nn::Graph graph = testing::RandomGraph(rng.Child("graph")).Build();
    const std::vector<float> parameters = testing::RandomParameters(graph, rng.Child("values"));
    const ChannelGroups groups = Get(FindChannelGroups(graph));
    const std::vector<std::uint8_t> removed = RemoveSome(groups, rng);
    // At the border of a padded convolution the models differ.
    if (!Get(RemoveChannels(graph, parameters, groups, removed)).padded.empty()) return;
    ++exact;
    CHECK(Difference(graph, parameters, groups, removed, rng) < 1e-5);
  });
  CHECK(exact > 100);
}

TEST_CASE("RemoveChannels: the size is what SizeWithout said") {
  fl::testing::ForAll(100, [](RngStream& rng) {
    const nn::Graph graph = testing::RandomGraph(rng.Child("graph")).Build();
    const ChannelGroups groups = Get(FindChannelGroups(graph));
    const std::vector<std::uint8_t> removed = RemoveSome(groups, rng);
    const std::vector<float> parameters = testing::RandomParameters(graph, rng.Child("values"));
    const SmallerModel smaller = Get(RemoveChannels(graph, parameters, groups, removed));
    CHECK(SizeOf(smaller.graph) == SizeWithout(graph, groups, removed));
    CHECK(smaller.graph.parameters.total() == smaller.parameters.size());
    const std::vector<std::uint8_t> none(groups.unit_count, 0);
    const SmallerModel same = Get(RemoveChannels(graph, parameters, groups, none));
    CHECK(nn::DescribeLayers(same.graph) == nn::DescribeLayers(graph));
    CHECK(same.parameters == parameters);
  });
}

TEST_CASE("RemoveChannels: the next bias takes the constant of a removed channel") {
  const nn::Graph graph = Build(Shape{1}, {"dense 2", "relu", "dense 1"});
  const ChannelGroups groups = Get(FindChannelGroups(graph));
  std::vector<std::uint8_t> removed(groups.unit_count, 0);
  removed[groups.units[1][1]] = 1;
  // dense1: weights 1 2, biases 3 4; dense2: weights 5 6, bias 7.
  const std::vector<float> parameters = {1, 2, 3, 4, 5, 6, 7};
  CHECK(Get(RemoveChannels(graph, parameters, groups, removed)).parameters ==
        std::vector<float>{1, 3, 5, 7 + 6 * 4});
  CHECK(Get(RemoveChannels(graph, parameters, groups, removed, false)).parameters ==
        std::vector<float>{1, 3, 5, 7});
}

TEST_CASE("RemoveChannels: a padded reader of a constant is named") {
  const nn::Graph graph = Build(Shape{4, 4, 1}, {"a: conv 2 1x1", "b: conv 2 3x3 same",
                                                 "c: conv 2 1x1 same", "d: conv 1 2x2"});
  const ChannelGroups groups = Get(FindChannelGroups(graph));
  std::vector<std::uint8_t> removed(groups.unit_count, 0);
  for (const std::size_t node : {1U, 2U, 3U}) removed[groups.units[node][0]] = 1;
  std::vector<float> parameters(graph.parameters.total(), 0.5F);
  CHECK(Get(RemoveChannels(graph, parameters, groups, removed)).padded == Lines{"b"});
  parameters[graph.parameters.offset(*graph.parameters.Find("a.bias"))] = 0;
  CHECK(Get(RemoveChannels(graph, parameters, groups, removed)).padded.empty());
}

TEST_CASE("RemoveChannels: refuses what must stay, with the reason") {
  const nn::Graph graph = Build(Shape{1}, {"dense 2", "relu", "dense 2"});
  const std::vector<float> parameters(graph.parameters.total());
  const ChannelGroups groups = Get(FindChannelGroups(graph));
  std::vector<std::uint8_t> removed(groups.unit_count, 0);
  removed[groups.units[3][0]] = 1;
  const auto output = RemoveChannels(graph, parameters, groups, removed);
  REQUIRE(CodeOf(output) == ErrorCode::kInvalidArgument);
  CHECK(output.error().message == "expected dense2 to stay whole, since dense2 is an output");
  removed.assign(groups.unit_count, 0);
  removed[groups.units[1][0]] = 1;
  removed[groups.units[1][1]] = 1;
  CHECK(CodeOf(RemoveChannels(graph, parameters, groups, removed)) == ErrorCode::kInvalidArgument);
}

TEST_CASE("CutMasks: masks are cut as their tensors are") {
  const nn::Graph graph = Build(Shape{2}, {"dense 3", "dense 2"});
  const ChannelGroups groups = Get(FindChannelGroups(graph));
  std::vector<std::uint8_t> removed(groups.unit_count, 0);
  removed[groups.units[1][1]] = 1;
  const auto masks =
      CutMasks(graph, groups, removed,
               {{"dense1.weight", {1, 0, 0, 0, 1, 1}}, {"dense2.weight", {1, 0, 1, 1, 0, 1}}});
  CHECK(masks.at("dense1.weight") == std::vector<std::uint8_t>{1, 0, 0, 1});
  CHECK(masks.at("dense2.weight") == std::vector<std::uint8_t>{1, 0, 0, 1});
}

}  // namespace
}  // namespace fl::deploy
