#include "fl/common/nn/optimizer.h"

#include <cmath>

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"

namespace fl::nn {
namespace {

using fl::testing::CodeOf;

TEST_CASE("Sgd: a plain step subtracts rate times gradient") {
  for (const InstructionSet set : SupportedInstructionSets()) {
    Sgd sgd({.learning_rate = 0.5}, 3, set);
    std::vector<float> gradient = {1, -2, 4};
    std::vector<float> parameters = {1, 1, 1};
    sgd.Step(gradient, {}, parameters);
    CHECK(parameters == std::vector<float>{0.5F, 2, -1});
  }
}

TEST_CASE("Sgd: momentum and weight decay follow the formula over two steps") {
  Sgd sgd({.learning_rate = 0.5, .momentum = 0.5, .weight_decay = 0.25}, 1);
  std::vector<float> parameters = {4};
  std::vector<float> gradient = {1};
  sgd.Step(gradient, {}, parameters);  // v = 1 + 0.25 * 4 = 2, w = 3.
  CHECK(parameters[0] == 3);
  gradient = {1};
  sgd.Step(gradient, {}, parameters);  // v = 1 + 1 + 0.75 = 2.75, w = 1.625.
  CHECK(parameters[0] == 1.625F);
}

TEST_CASE("Sgd: frozen parameters stay whatever their gradient and the weight decay") {
  Graph graph;
  graph.parameters = TensorLayout({{"a", {1}}, {"b", {2}}, {"c", {1}}});
  graph.frozen = {1};
  Sgd sgd({.learning_rate = 0.5, .momentum = 0.5, .weight_decay = 0.25}, graph);
  std::vector<float> parameters = {4, 4, 4, 8};
  for (int step = 0; step < 2; ++step) {
    std::vector<float> gradient = {1, 1, 1, 0};
    sgd.Step(gradient, {}, parameters);
  }
  CHECK(parameters == std::vector<float>{1.625F, 4, 4, 5.625F});
}

TEST_CASE("Sgd: the proximal term pulls to the anchor") {
  Sgd sgd({.learning_rate = 1, .proximal = 0.5}, 2);
  std::vector<float> parameters = {4, 0};
  std::vector<float> gradient = {0, 0};
  sgd.Step(gradient, std::vector<float>{2, 2}, parameters);
  CHECK(parameters == std::vector<float>{3, 1});
}

TEST_CASE("Sgd: a gradient longer than the bound is scaled to it and a shorter one is left") {
  Sgd sgd({.learning_rate = 1, .gradient_clip = 1}, 2);
  std::vector<float> parameters = {0, 0};
  std::vector<float> gradient = {3, 4};
  sgd.Step(gradient, {}, parameters);
  CHECK(parameters[0] == doctest::Approx(-0.6));
  CHECK(parameters[1] == doctest::Approx(-0.8));
  parameters = {0, 0};
  gradient = {0.5F, 0.25F};
  sgd.Step(gradient, {}, parameters);
  CHECK(parameters == std::vector<float>{-0.5F, -0.25F});
}

TEST_CASE("Sgd: the rate warms up in equal parts") {
  Sgd sgd({.learning_rate = 1, .warm_up_steps = 4}, 1);
  std::vector<float> parameters = {0};
  std::vector<float> taken;
  for (int i = 0; i < 5; ++i) {
    std::vector<float> gradient = {1};
    const float before = parameters[0];
    sgd.Step(gradient, {}, parameters);
    taken.push_back(before - parameters[0]);
  }
  CHECK(taken == std::vector<float>{0.25F, 0.5F, 0.75F, 1, 1});
  CHECK(sgd.steps() == 5);
}

TEST_CASE("SgdConfig: each field outside its range is refused by name") {
  CHECK(SgdConfig{}.Validate().has_value());
  CHECK(CodeOf(SgdConfig{.learning_rate = 0}.Validate()) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(SgdConfig{.learning_rate = std::nan("")}.Validate()) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(SgdConfig{.momentum = 1}.Validate()) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(SgdConfig{.weight_decay = -1}.Validate()) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(SgdConfig{.gradient_clip = -1}.Validate()) == ErrorCode::kInvalidArgument);
  CHECK(SgdConfig{.proximal = -1}.Validate().error().message.find("proximal") == 0);
}

TEST_CASE("RoundLearningRate: each round has the factor once more") {
  CHECK(RoundLearningRate(0.5, 0.5, 1) == 0.5);
  CHECK(RoundLearningRate(0.5, 0.5, 3) == 0.125);
  CHECK(RoundLearningRate(0.5, 1.0, 1000000000000) == 0.5);
}

}  // namespace
}  // namespace fl::nn
