#include "fl/compression/deploy/importance.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/common/tensor/safetensors.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;

nn::Graph Build(const std::vector<std::string>& lines) {
  return Get(nn::BuildGraph(Shape{2}, lines, "mean_squared_error"));
}

// Two features and a number to predict.
data::Subset Samples(std::vector<float> features, std::vector<float> targets) {
  data::Samples samples;
  samples.shape = Shape{2};
  samples.features = std::move(features);
  samples.targets = std::move(targets);
  return data::Subset(
      std::make_shared<data::Dataset>(Get(data::Dataset::Create(std::move(samples)))));
}

data::Subset TwoSamples() {
  return Samples({1, 0, 0, 1}, {0, 0});
}

// Scores of dense1, the layer before the output.
Result<std::vector<double>> Score(const nn::Graph& graph, std::span<const float> parameters,
                                  const ImportanceConfig& config,
                                  const data::Subset& samples = TwoSamples()) {
  const ChannelGroups groups = Get(FindChannelGroups(graph));
  std::vector<std::uint8_t> eligible(groups.groups.size(), 0);
  eligible[0] = 1;
  FL_TRY(const std::vector<double> scores,
         ScoreUnits(graph, parameters, groups, eligible, config, {samples, RngStream(1)}));
  std::vector<double> layer;
  for (const std::uint32_t unit : groups.units[1]) layer.push_back(scores[unit]);
  return layer;
}

ImportanceConfig By(Criterion criterion) {
  ImportanceConfig config;
  config.criterion = criterion;
  return config;
}

// dense1 has the columns (3, -4), (1, 1), (0, 2) and no biases; dense2 adds the three.
const std::vector<float> kParameters = {3, 1, 0, -4, 1, 2, 0, 0, 0, 1, 1, 1, 0};

void CheckScores(const std::vector<double>& found, std::vector<double> expected) {
  const double mean = (expected[0] + expected[1] + expected[2]) / 3;
  for (std::size_t i = 0; i < 3; ++i) CHECK(found[i] == doctest::Approx(expected[i] / mean));
}

TEST_CASE("ScoreUnits: magnitudes and distances, by hand") {
  const nn::Graph graph = Build({"dense 3", "dense 1"});
  CheckScores(Get(Score(graph, kParameters, By(Criterion::kL1))), {7, 2, 2});
  CheckScores(Get(Score(graph, kParameters, By(Criterion::kL2))), {5, std::sqrt(2.0), 2});
  const double a_b = std::sqrt(4.0 + 25.0);
  const double a_c = std::sqrt(9.0 + 36.0);
  const double b_c = std::sqrt(2.0);
  CheckScores(Get(Score(graph, kParameters, By(Criterion::kGeometricMedian))),
              {a_b + a_c, a_b + b_c, a_c + b_c});
}

TEST_CASE("ScoreUnits: gradients are taken minibatch by minibatch") {
  const nn::Graph graph = Build({"dense 3", "dense 1"});
  // The outputs are 4 and -1, so d loss / d output is 8 and -2; a sample's gradient is that in the
  // row of its feature and in the biases.
  ImportanceConfig config = By(Criterion::kTaylor);
  config.batch = 1;
  CheckScores(Get(Score(graph, kParameters, config)),
              {std::pow(8 * 3, 2) + std::pow(2 * 4, 2), 64 + 4, 0 + std::pow(2 * 2, 2)});
  config.criterion = Criterion::kSnip;
  CheckScores(Get(Score(graph, kParameters, config)), {24 + 8, 8 + 2, 4});
  config.criterion = Criterion::kGradient;
  CheckScores(Get(Score(graph, kParameters, config)), {1, 1, 1});
  // One minibatch of both: the squares are of the sum.
  config = By(Criterion::kTaylor);
  config.batch = 2;
  CheckScores(Get(Score(graph, kParameters, config)),
              {std::pow(4 * 3 + 1 * 4, 2), std::pow(4 - 1, 2), std::pow(-2, 2)});
}

TEST_CASE("ScoreUnits: the gamma of the batch norm behind, and only there") {
  const nn::Graph graph = Build({"dense 3", "batchnorm", "dense 1"});
  std::vector<float> parameters(graph.parameters.total());
  const std::size_t gamma = graph.parameters.offset(*graph.parameters.Find("batchnorm1.gamma"));
  parameters[gamma] = -2;
  parameters[gamma + 1] = 1;
  CHECK(Get(Score(graph, parameters, By(Criterion::kBatchNormGamma))) ==
        std::vector<double>{2, 1, 0});
  const auto without =
      Score(Build({"dense 3", "dense 1"}), kParameters, By(Criterion::kBatchNormGamma));
  REQUIRE(CodeOf(without) == ErrorCode::kInvalidArgument);
  CHECK(without.error().message.find("behind dense1") != std::string::npos);
}

TEST_CASE("ScoreUnits: random is drawn from the stream") {
  const nn::Graph graph = Build({"dense 3", "dense 1"});
  const auto first = Get(Score(graph, kParameters, By(Criterion::kRandom)));
  CHECK(first == Get(Score(graph, kParameters, By(Criterion::kRandom))));
  CHECK(first[0] != first[1]);
}

TEST_CASE("ScoreUnits: own scores are taken as they are, or refused by name") {
  const nn::Graph graph = Build({"dense 3", "dense 1"});
  ImportanceConfig config = By(Criterion::kOwn);
  config.scores = {{"dense1", {5, -1, 2}}};
  CHECK(Get(Score(graph, kParameters, config)) == std::vector<double>{5, -1, 2});
  config.scores = {{"dense1", {5, 1}}};
  CHECK(CodeOf(Score(graph, kParameters, config)) == ErrorCode::kShapeMismatch);
  config.scores = {{"dense1", {5, 1, 2}}, {"dense7", {5}}};
  CHECK(CodeOf(Score(graph, kParameters, config)) == ErrorCode::kNotFound);
  config.scores = {};
  CHECK(CodeOf(Score(graph, kParameters, config)) == ErrorCode::kInvalidArgument);
}

TEST_CASE("ScoreUnits: samples that cannot be learned from are refused") {
  const nn::Graph graph = Build({"dense 3", "dense 1"});
  const data::Subset none(TwoSamples().shared_dataset(), {});
  CHECK(CodeOf(Score(graph, kParameters, By(Criterion::kTaylor), none)) ==
        ErrorCode::kInvalidArgument);
  const std::vector<std::string> wide = {"dense 3", "dense 1"};
  const nn::Graph other = Get(nn::BuildGraph(Shape{4}, wide, "mean_squared_error"));
  CHECK(CodeOf(Score(other, std::vector<float>(other.parameters.total()),
                     By(Criterion::kTaylor))) == ErrorCode::kShapeMismatch);
  const data::Subset huge = Samples({3e38F, 3e38F, 3e38F, 3e38F}, {0, 0});
  CHECK(CodeOf(Score(graph, kParameters, By(Criterion::kTaylor), huge)) == ErrorCode::kNotFinite);
  std::vector<float> broken = kParameters;
  broken[0] = std::numeric_limits<float>::quiet_NaN();
  CHECK(CodeOf(Score(graph, broken, By(Criterion::kL1))) == ErrorCode::kNotFinite);
}

TEST_CASE("ScoreUnits: constant samples and weights of zero score without complaint") {
  const nn::Graph graph = Build({"dense 3", "dense 1"});
  const data::Subset constant = Samples({1, 1, 1, 1}, {0, 0});
  CHECK(Get(Score(graph, kParameters, By(Criterion::kTaylor), constant)).size() == 3);
  const std::vector<float> zeros(kParameters.size());
  CHECK(Get(Score(graph, zeros, By(Criterion::kL1))) == std::vector<double>{0, 0, 0});
}

TEST_CASE("ScoreWeights: one score a weight of the layers asked for") {
  const nn::Graph graph = Build({"dense 3", "dense 1"});
  const std::vector<std::size_t> nodes = {1};
  const data::Subset samples = TwoSamples();
  const auto score = [&](const ImportanceConfig& config) {
    return ScoreWeights(graph, kParameters, nodes, config, {samples, RngStream(1)});
  };
  CHECK(Get(score(By(Criterion::kL2))) ==
        std::vector<double>{3, 1, 0, 4, 1, 2, 0, 0, 0, 0, 0, 0, 0});
  ImportanceConfig snip = By(Criterion::kSnip);
  snip.batch = 1;
  const std::vector<double> found = Get(score(snip));
  CHECK(found[0] == doctest::Approx(24));
  CHECK(found[3] == doctest::Approx(8));
  CHECK(found[9] == 0);
  ImportanceConfig own = By(Criterion::kOwn);
  own.scores = {{"dense1", {6, 5, 4, 3, 2, 1}}};
  CHECK(Get(score(own))[5] == 1);
  own.scores["dense1"].pop_back();
  CHECK(CodeOf(score(own)) == ErrorCode::kShapeMismatch);
  CHECK(CodeOf(score(By(Criterion::kGeometricMedian))) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(score(By(Criterion::kBatchNormGamma))) == ErrorCode::kInvalidArgument);
}

Result<OwnScores> ParseText(std::string_view text) {
  return ParseScores(std::as_bytes(std::span(text)));
}

TEST_CASE("ParseScores: lines of text") {
  CHECK(Get(ParseText("conv1 0.5 -2e3\n\n  dense1\t1\r\n")) ==
        OwnScores{{"conv1", {0.5, -2000}}, {"dense1", {1}}});
  CHECK(CodeOf(ParseText("")) == ErrorCode::kMalformed);
  CHECK(CodeOf(ParseText("conv1")) == ErrorCode::kMalformed);
  CHECK(CodeOf(ParseText("conv1 1 two")) == ErrorCode::kMalformed);
  CHECK(CodeOf(ParseText("conv1 1\nconv1 2")) == ErrorCode::kMalformed);
  CHECK(CodeOf(ParseText("conv1 nan")) == ErrorCode::kNotFinite);
  CHECK(CodeOf(ParseText("conv1 1\nconv2 inf")) == ErrorCode::kNotFinite);
}

TEST_CASE("ParseScores: a safetensors file") {
  SafetensorsFile file;
  file.tensors.push_back(StoreFloats("conv1", Shape{2}, std::vector<float>{1, 2}));
  const Bytes bytes = SerializeSafetensors(file);
  CHECK(Get(ParseScores(bytes)) == OwnScores{{"conv1", {1, 2}}});
  CHECK(CodeOf(ParseScores(ByteSpan(bytes).first(bytes.size() - 1))) == ErrorCode::kMalformed);
  file.tensors[0] =
      StoreFloats("conv1", Shape{1}, std::vector<float>{std::numeric_limits<float>::infinity()});
  CHECK(CodeOf(ParseScores(SerializeSafetensors(file))) == ErrorCode::kNotFinite);
}

}  // namespace
}  // namespace fl::deploy
