#include "fl/compression/deploy/gate.h"

#include <cmath>

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

using testing::Get;

TEST_CASE("Evaluate: shares of right answers and the mean cross entropy") {
  const nn::Graph graph =
      Get(nn::BuildGraph(Shape{2}, std::vector<std::string>{"dense 2"}, "softmax_cross_entropy"));
  const std::vector<float> identity = {1, 0, 0, 1, 0, 0};  // Logits are the inputs.
  data::Samples samples;
  samples.shape = Shape{2};
  samples.classes = 2;
  samples.features = std::vector<float>{3, 1, 3, 1, 0, 400};
  samples.labels = {0, 1, 1};
  const auto dataset =
      std::make_shared<const data::Dataset>(Get(data::Dataset::Create(std::move(samples))));
  const data::Subset three(dataset);

  const nn::Evaluation found = Get(Evaluate(graph, identity, three));
  CHECK(found.count == 3);
  CHECK(found.accuracy == doctest::Approx(2.0 / 3));
  // log(1 + e^-2), the same + 2, and 0 though e^400 is no float.
  CHECK(found.loss == doctest::Approx((2 * std::log1p(std::exp(-2.0)) + 2) / 3));
  CHECK(Get(Accuracy(graph, identity, three)) == found.accuracy);

  const nn::Evaluation none = Get(Evaluate(graph, identity, data::Subset(dataset, {})));
  CHECK(none.count == 0);
  CHECK(none.accuracy == 0);
  CHECK(none.loss == 0);
}

TEST_CASE("Evaluate: a class that the model does not know is answered wrongly") {
  const nn::Graph graph =
      Get(nn::BuildGraph(Shape{2}, std::vector<std::string>{"dense 2"}, "softmax_cross_entropy"));
  data::Samples samples;
  samples.shape = Shape{2};
  samples.classes = 5;
  samples.features = std::vector<float>{3, 1, 3, 1};
  samples.labels = {0, 4};
  const data::Subset two(
      std::make_shared<const data::Dataset>(Get(data::Dataset::Create(std::move(samples)))));
  const nn::Evaluation found = Get(Evaluate(graph, std::vector<float>{1, 0, 0, 1, 0, 0}, two));
  CHECK(found.accuracy == 0.5);
  CHECK(std::isinf(found.loss));
}

}  // namespace
}  // namespace fl::deploy
