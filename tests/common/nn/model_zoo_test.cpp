#include "fl/common/nn/model_zoo.h"

#include <algorithm>

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;

std::size_t Norms(const Graph& graph) {
  return static_cast<std::size_t>(std::ranges::count(graph.nodes, OpKind::kBatchNorm, &Node::kind));
}

TEST_CASE("BuildZooModel: each network has its paper's parameters") {
  const std::pair<std::string_view, std::size_t> sizes[] = {{"ds_cnn", 24908},
                                                            {"resnet8", 78666},
                                                            {"mlp", 199210},
                                                            {"autoencoder", 269992},
                                                            {"mobilenet_025", 221794},
                                                            {"mnist_cnn", 1663370},
                                                            {"leaf_femnist_cnn", 6603710}};
  for (const auto& [name, parameters] : sizes) {
    CAPTURE(name);
    CHECK(Get(BuildZooModel(name)).parameters.total() == parameters);
  }
}

TEST_CASE(
    "BuildZooModel: every listed name builds, folded without norms and with fewer parameters") {
  for (const ZooModel& model : ZooModels()) {
    CAPTURE(model.name);
    const Graph whole = Get(BuildZooModel(model.name));
    const Graph folded = Get(BuildZooModel(model.name, {.folded = true}));
    CHECK(Norms(folded) == 0);
    CHECK(whole.nodes.size() - folded.nodes.size() == Norms(whole));
    CHECK(whole.output_shape() == folded.output_shape());
  }
  CHECK(Norms(Get(BuildZooModel("mobilenet_025"))) == 27);
}

TEST_CASE("BuildZooModel: an unknown name is refused with those that are known") {
  const auto refused = BuildZooModel("resnet9");
  REQUIRE(CodeOf(refused) == ErrorCode::kInvalidArgument);
  CHECK(refused.error().message.find("ds_cnn, resnet8") != std::string::npos);
}

}  // namespace
}  // namespace fl::nn
