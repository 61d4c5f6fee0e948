#include "fl/compression/deploy/fold_batchnorm.h"

#include <cmath>

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/session.h"
#include "fl/common/random/rng_stream.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;

nn::Graph Build(const Shape& input, const std::vector<std::string>& layers) {
  return Get(nn::BuildGraph(input, layers, "softmax_cross_entropy"));
}

// Normal parameters, variances positive.
std::vector<float> ParametersOf(const nn::Graph& graph) {
  std::vector<float> parameters(graph.parameters.total());
  RngStream(4).FillNormal(parameters);
  for (std::size_t i = 0; i < graph.parameters.size(); ++i) {
    if (!graph.parameters[i].name.ends_with(".variance")) continue;
    for (std::size_t k = 0; k < graph.parameters[i].shape.count(); ++k) {
      float& value = parameters[graph.parameters.offset(i) + k];
      value = 0.1F + std::abs(value);
    }
  }
  return parameters;
}

TEST_CASE("FoldBatchNorms: a dense layer computes what it and its norm computed") {
  const nn::Graph graph = Build({5}, {"dense 3", "norm: batchnorm", "relu", "dense 2"});
  const std::vector<float> parameters = ParametersOf(graph);
  const FoldedModel folded = Get(FoldBatchNorms(graph, parameters));
  CHECK(folded.folded == std::vector<std::string>{"norm"});
  CHECK(folded.left.empty());
  CHECK(folded.model.graph.nodes.size() == graph.nodes.size() - 1);
  CHECK(folded.model.graph.nodes[3].name == "dense2");
  const auto tensor = [&](const char* name) {
    return parameters.data() + graph.parameters.offset(*graph.parameters.Find(name));
  };
  for (std::size_t c = 0; c < 3; ++c) {
    double product = static_cast<double>(tensor("dense1.bias")[c]);
    double direct =
        static_cast<double>(folded.model.parameters[folded.model.graph.parameters.offset(1) + c]);
    for (std::size_t k = 0; k < 5; ++k) {
      const double x = static_cast<double>(k) - 1.5;
      product += x * static_cast<double>(tensor("dense1.weight")[k * 3 + c]);
      direct += x * static_cast<double>(folded.model.parameters[k * 3 + c]);
    }
    const double wanted = (product - static_cast<double>(tensor("norm.mean")[c])) *
                              static_cast<double>(tensor("norm.gamma")[c]) /
                              std::sqrt(static_cast<double>(tensor("norm.variance")[c]) + 1e-5) +
                          static_cast<double>(tensor("norm.beta")[c]);
    CHECK(direct == doctest::Approx(wanted).epsilon(1e-5));
  }
}

TEST_CASE("FoldBatchNorms: a product without a norm, and one that others read, stay as they are") {
  const nn::Graph graph =
      Build({6, 6, 2}, {"conv 4 3x3 same", "batchnorm", "relu", "conv 4 1x1",
                        "batchnorm from=relu1", "add batchnorm2 conv2", "flatten", "dense 2"});
  const std::vector<float> parameters = ParametersOf(graph);
  const FoldedModel folded = Get(FoldBatchNorms(graph, parameters));
  CHECK(folded.folded == std::vector<std::string>{"batchnorm1"});
  CHECK(folded.left == std::vector<std::string>{"batchnorm2"});
  const TensorLayout& layout = folded.model.graph.parameters;
  const std::size_t conv2 = layout.offset(*layout.Find("conv2.weight"));
  const std::size_t before = graph.parameters.offset(*graph.parameters.Find("conv2.weight"));
  for (std::size_t i = 0; i < 16; ++i)
    CHECK(folded.model.parameters[conv2 + i] == parameters[before + i]);
}

TEST_CASE("FoldBatchNorms: wrong sizes and variances that make no scale are refused") {
  const nn::Graph graph = Build({5}, {"dense 3", "batchnorm", "dense 2"});
  std::vector<float> parameters = ParametersOf(graph);
  CHECK(CodeOf(FoldBatchNorms(graph, std::span(parameters).first(4))) ==
        ErrorCode::kInvalidArgument);
  parameters[graph.parameters.offset(*graph.parameters.Find("batchnorm1.variance"))] = -1;
  CHECK(CodeOf(FoldBatchNorms(graph, parameters)) == ErrorCode::kNotFinite);
}

}  // namespace
}  // namespace fl::deploy
