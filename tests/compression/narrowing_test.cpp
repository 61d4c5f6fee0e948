#include "fl/compression/narrowing.h"

#include <algorithm>
#include <set>

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/gradient.h"
#include "fl/common/nn/initialize.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

using testing::Get;

constexpr std::size_t kSamples = 6;

nn::Graph SmallGraph() {
  const std::vector<std::string> layers = {"conv 6 3x3 same", "relu", "maxpool 2",
                                           "conv 5 2x2",      "relu", "flatten",
                                           "dense 7",         "relu", "dense 4"};
  return Get(nn::BuildGraph(Shape{8, 8, 2}, layers, "softmax_cross_entropy"));
}

double LossOf(const nn::Graph& graph, std::span<const float> parameters,
              std::span<float> gradient) {
  auto step = Get(nn::TrainingStep::Create(graph, kSamples));
  std::vector<float> input(kSamples * graph.input_shape().count());
  RngStream(5).FillNormal(input);
  const std::vector<std::int32_t> labels = {0, 1, 2, 3, 1, 2};
  nn::TrainingBatch batch;
  batch.count = kSamples;
  batch.input = input;
  batch.labels = labels;
  return step.Compute(parameters, batch, gradient);
}

TEST_CASE("Narrowing: each hidden layer keeps its share, rounded up to whole units") {
  const Narrowing narrowing = Get(Narrowing::Create(SmallGraph(), 0.5, 1));
  const TensorLayout& narrow = narrowing.graph().parameters;
  CHECK(narrow == TensorLayout({{"conv1.weight", {3, 3, 2, 3}},
                                {"conv1.bias", {3}},
                                {"conv2.weight", {2, 2, 3, 3}},
                                {"conv2.bias", {3}},
                                {"dense1.weight", {27, 4}},
                                {"dense1.bias", {4}},
                                {"dense2.weight", {4, 4}},
                                {"dense2.bias", {4}}}));
}

// The narrow network is the whole one whose other units are zero and whose kept ones count more.
TEST_CASE("Narrowing: the narrow network computes what the whole one does without the others") {
  const nn::Graph whole = SmallGraph();
  const Narrowing narrowing = Get(Narrowing::Create(whole, 0.5, 3));
  const std::vector<float> model = nn::InitializeParameters(whole, RngStream(2)).values;
  for (const std::uint64_t round : {1U, 2U, 9U}) {
    CAPTURE(round);
    const std::vector<std::uint64_t> trained = narrowing.AllCoordinates(round);
    std::vector<float> narrow(trained.size());
    for (std::size_t i = 0; i < narrow.size(); ++i) narrow[i] = model[trained[i]];
    for (const ScaledRange& range : narrowing.scaled()) {
      for (std::size_t i = 0; i < range.count; ++i) narrow[range.first + i] *= range.factor;
    }
    // A unit whose weights and bias are zero stays zero behind a relu.
    std::vector<float> masked(model.size());
    for (std::size_t i = 0; i < narrow.size(); ++i) masked[trained[i]] = narrow[i];
    std::vector<float> narrow_gradient(narrow.size());
    std::vector<float> masked_gradient(masked.size());
    const double loss = LossOf(narrowing.graph(), narrow, narrow_gradient);
    CHECK(loss == doctest::Approx(LossOf(whole, masked, masked_gradient)).epsilon(1e-6));
    for (std::size_t i = 0; i < narrow.size(); ++i) {
      CHECK(narrow_gradient[i] ==
            doctest::Approx(masked_gradient[trained[i]]).epsilon(1e-4).scale(1e-2));
    }
  }
}

TEST_CASE("Narrowing: what is scaled makes up for the inputs that are left out") {
  const Narrowing narrowing = Get(Narrowing::Create(SmallGraph(), 0.5, 3));
  const TensorLayout& narrow = narrowing.graph().parameters;
  REQUIRE(narrowing.scaled().size() == 3);
  const std::array<std::string_view, 3> names = {"conv2.weight", "dense1.weight", "dense2.weight"};
  const std::array<float, 3> factors = {2.0F, 5.0F / 3, 7.0F / 4};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::size_t tensor = *narrow.Find(names[i]);
    CHECK(narrowing.scaled()[i].first == narrow.offset(tensor));
    CHECK(narrowing.scaled()[i].count == narrow[tensor].shape.count());
    CHECK(narrowing.scaled()[i].factor == factors[i]);
  }
}

TEST_CASE("Narrowing: rounds draw units anew, all units alike, and the seed decides") {
  const Narrowing narrowing = Get(Narrowing::Create(SmallGraph(), 0.5, 3));
  const Narrowing again = Get(Narrowing::Create(SmallGraph(), 0.5, 3));
  const Narrowing other = Get(Narrowing::Create(SmallGraph(), 0.5, 4));
  std::vector<std::size_t> drawn(6);
  std::size_t same = 0;
  constexpr std::size_t kRounds = 600;
  for (std::uint64_t round = 1; round <= kRounds; ++round) {
    const std::vector<std::uint32_t> units = narrowing.CoordinatesOf(1, round);  // conv1.bias.
    REQUIRE(units.size() == 3);
    CHECK(std::ranges::is_sorted(units));
    CHECK(units == again.CoordinatesOf(1, round));
    same += units == other.CoordinatesOf(1, round) ? 1 : 0;
    for (const std::uint32_t unit : units) ++drawn[unit];
  }
  for (const std::size_t times : drawn) CHECK(times == doctest::Approx(0.5 * kRounds).epsilon(0.2));
  CHECK(same < kRounds / 10);  // One of 20 on average.
}

TEST_CASE("Narrowing: models that have nothing to leave out are refused") {
  const auto refusal = [](const std::vector<std::string>& layers, bool frozen) {
    nn::Graph graph = Get(nn::BuildGraph(Shape{5}, layers, "softmax_cross_entropy"));
    if (frozen) graph.frozen = {0};
    const auto narrowing = Narrowing::Create(graph, 0.5, 1);
    return narrowing ? std::string() : narrowing.error().message;
  };
  CHECK(refusal({"dense 4", "relu", "dense 3"}, false).empty());
  CHECK(refusal({"dense 3"}, false).find("without hidden layers") != std::string::npos);
  CHECK(refusal({"dense 4", "relu", "dense 3"}, true).find("frozen") != std::string::npos);
  CHECK(refusal({"dense 4 lora=1", "relu", "dense 3"}, false).find("without lora") !=
        std::string::npos);
  CHECK(refusal({"dense 4", "batchnorm", "dense 3"}, false).find("batchnorm1") !=
        std::string::npos);
  CHECK(refusal({"dense 4", "relu", "dense 4", "add relu1", "dense 3"}, false).find("add1") !=
        std::string::npos);
}

}  // namespace
}  // namespace fl
