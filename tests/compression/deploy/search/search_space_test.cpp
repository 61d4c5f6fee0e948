#include "fl/compression/deploy/search/search_space.h"

#include <algorithm>

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/compression/deploy/pass_list.h"
#include "fl/compression/deploy/search/propose.h"
#include "fl/compression/deploy/search/student_networks.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

using testing::Get;
using Lines = std::vector<std::string>;

nn::Graph Build(const Lines& lines) {
  return Get(nn::BuildGraph(Shape{16, 16, 1}, lines, "softmax_cross_entropy"));
}

const Lines kPlain = {"conv 32 3x3 same", "relu", "maxpool 2", "flatten",
                      "dense 64",         "relu", "dense 10"};

TEST_CASE("MakeSearchSpace: a level for each step of the multiple, the largest layers to factor") {
  const SearchSpace space = Get(MakeSearchSpace(Build(kPlain), 8));
  REQUIRE(space.layers.size() == 2);
  CHECK(space.layers[0].name == "conv1");
  CHECK(space.layers[0].kept == std::vector<std::size_t>{32, 24, 16, 8});
  CHECK(space.layers[1].kept.front() == 64);
  CHECK(space.layers[1].kept.back() == 8);
  CHECK(space.factorable == Lines{"dense1"});
  // A device that takes 32 channels at once leaves the convolution whole.
  const SearchSpace wide = Get(MakeSearchSpace(Build(kPlain), 32));
  REQUIRE(wide.layers.size() == 1);
  CHECK(wide.layers[0].kept == std::vector<std::size_t>{64, 32});
}

TEST_CASE("ListOf: what is removed, a pass for each training, and what ends every list") {
  const nn::Graph graph = Build(kPlain);
  const SearchSpace space = Get(MakeSearchSpace(graph, 8));
  const Proposal proposal{.levels = {2, 1}, .factored = "dense1", .energy = 0.8};
  const std::vector<std::uint32_t> steps = {5, 10};
  const DeploymentConfig list = ListOf(space, proposal, steps, {1.5, 5000, true});
  CHECK(list.drop_points_max == 1.5);
  CHECK(list.bytes_max == 5000);
  Lines names;
  for (const PassConfig& pass : list.passes) names.push_back(pass.name.text);
  CHECK(names == Lines{"prune_channels", "prune_channels", "low_rank", "fine_tune", "fine_tune",
                       "ptq_static", "verify"});
  CHECK(ParsePassList(list, graph).has_value());
  CHECK(NameOf(space, proposal) == "conv1 16, dense1 48, dense1 by rank, 80 % energy");
  CHECK(KindOf(proposal) == "low rank");
  const DeploymentConfig four = ListOf(space, proposal, steps, {1.5, 5000, true, 4});
  CHECK(four.passes[5].fields.size() == 3);
  CHECK(ParsePassList(four, graph).has_value());
  const DeploymentConfig floats = ListOf(space, {.levels = {0, 0}}, {}, {1, 0, false});
  REQUIRE(floats.passes.size() == 1);
  CHECK(floats.passes[0].name.text == "verify");
  const DeploymentConfig student = ListOf(space, {.student = 0}, steps, {});
  REQUIRE(student.passes.size() == 4);
  CHECK(student.passes[0].name.text == "distil");
  CHECK(student.passes[1].name.text == "fine_tune");
  CHECK(ParsePassList(student, graph).has_value());
}

TEST_CASE("StudentNetworks: other widths, depths and kernels, each smaller and of the same task") {
  const nn::Graph graph = Build(kPlain);
  const auto students = StudentNetworks(graph, 8);
  const auto has = [&](const Lines& lines) {
    return std::ranges::find(students, nn::DescribeLayers(Build(lines))) != students.end();
  };
  CHECK(has({"conv 8 3x3 same", "relu", "maxpool 2", "flatten", "dense 16", "relu", "dense 10"}));
  CHECK(has({"conv 16 5x5 same", "relu", "maxpool 2", "flatten", "dense 10"}));
  CHECK(has({"conv 32 3x3 same", "relu", "maxpool 2", "conv 32 3x3 same", "relu", "maxpool 2",
             "flatten", "dense 10"}));
  CHECK_FALSE(has(kPlain));
  for (std::size_t i = 0; i < students.size(); ++i) {
    const nn::Graph student = Build(students[i]);
    CHECK(student.output_shape() == graph.output_shape());
    CHECK(student.parameters.total() < graph.parameters.total());
    CHECK(std::count(students.begin(), students.end(), students[i]) == 1);
  }
  // With branches only the widths change.
  const auto narrow = StudentNetworks(Build({"conv 32 3x3 same", "relu", "conv 32 3x3 same",
                                             "add conv2 relu1", "flatten", "dense 10"}),
                                      8);
  CHECK(narrow.size() == 2);  // An eighth is no less than one multiple of channels.
}

TEST_CASE("GreedyPath: first what loses least for what it saves, down to the smallest") {
  const nn::Graph graph = Build(kPlain);
  const SearchSpace space = Get(MakeSearchSpace(graph, 8));
  std::vector<SensitivityCurve> curves;
  for (const PrunableLayer& layer : space.layers) {
    SensitivityCurve curve{layer.name, layer.kept, {}};
    // The convolution is as sensitive as can be, the dense layer is not at all.
    for (std::size_t i = 0; i < layer.kept.size(); ++i)
      curve.divergence.push_back(layer.name == "conv1" ? 100.0 * static_cast<double>(i) : 0.0);
    curves.push_back(curve);
  }
  const auto path = GreedyPath(space, graph, curves, 1);
  const std::size_t dense = space.layers[1].kept.size() - 1;
  REQUIRE(path.size() == 1 + dense + 3);
  CHECK(path.front() == std::vector<std::size_t>{0, 0});
  CHECK(path[dense] == std::vector<std::size_t>{0, dense});
  CHECK(path.back() == std::vector<std::size_t>{3, dense});
  for (std::size_t i = 1; i < path.size(); ++i)
    CHECK(SizeBy(space, graph, path[i]).parameters < SizeBy(space, graph, path[i - 1]).parameters);
}

TEST_CASE("PickProposals: within the budget, some of each kind, evenly over their bytes") {
  std::vector<SizedProposal> proposals;
  for (std::uint64_t i = 0; i < 20; ++i)
    proposals.push_back({{.levels = {i}}, {0, 1000 * (i + 1), 5}, 1});
  for (std::size_t i = 0; i < 20; ++i) proposals.push_back({{.student = i}, {0, 500, 50}, 1});
  const auto picked = PickProposals(proposals, {0.5, 10000, 0}, 10);
  CHECK(picked.size() == 9);
  for (const SizedProposal& proposal : picked) CHECK(proposal.size.bytes <= 10000);
  CHECK(picked.front().size.bytes == 1000);
  CHECK(picked[4].size.bytes == 10000);
  // Students are too slow here, and a bound of 1 us is below all.
  for (const SizedProposal& proposal : PickProposals(proposals, {0.5, 0, 10}, 10))
    CHECK_FALSE(proposal.proposal.student.has_value());
  CHECK(PickProposals(proposals, {0.5, 0, 1}, 10).empty());
  // Of each kind the half that most draws are larger and slower than.
  const std::vector<Objectives> sizes = {{0, 3000, 60}, {0, 5000, 60}, {0, 8000, 60}};
  const std::vector<std::uint8_t> bits = {8};
  const DrawnSizes drawn(sizes, 8, bits);
  const auto small = PickProposals(proposals, {0.5, 10000, 0}, 10, &drawn);
  CHECK(small.front().size.bytes == 1000);
  CHECK(small[4].size.bytes == 5000);
  CHECK(WhyOutside({0, 20, 7}, {0.5, 10, 5}).find("20 bytes") != std::string::npos);
  CHECK(WhyOutside({0, 10, 5}, {0.5, 10, 5}).empty());
}

TEST_CASE("DrawProposal: within the space, the same for the same seed, of every kind") {
  const SearchSpace space = Get(MakeSearchSpace(Build(kPlain), 8));
  RngStream rng(3);
  RngStream again(3);
  std::vector<std::string> kinds;
  for (int i = 0; i < 40; ++i) {
    const Proposal proposal = DrawProposal(space, rng);
    CHECK(proposal == DrawProposal(space, again));
    kinds.push_back(KindOf(proposal));
    for (std::size_t k = 0; k < proposal.levels.size(); ++k)
      CHECK(proposal.levels[k] < space.layers[k].kept.size());
  }
  for (const char* kind : {"student", "low rank", "channels"})
    CHECK(std::ranges::find(kinds, kind) != kinds.end());
}

}  // namespace
}  // namespace fl::deploy
