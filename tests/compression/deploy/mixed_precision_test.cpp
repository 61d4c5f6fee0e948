#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "fl/compression/deploy/allocate_bits.h"
#include "fl/compression/deploy/search_bits.h"
#include "fl/compression/deploy/sensitivity.h"
#include "fl/tests/compression/deploy/branches.h"
#include "fl/tests/compression/deploy/small_digits.h"

namespace fl::deploy {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Branches;

std::vector<std::vector<LayerOption>> RandomLayers(std::uint64_t seed, std::size_t count) {
  RngStream rng(seed);
  std::vector<std::vector<LayerOption>> layers(count);
  for (std::vector<LayerOption>& options : layers) {
    for (int k = 0; k < 4; ++k) {
      options.push_back({std::floor(100 * rng.UniformDouble()), 10 * rng.UniformDouble()});
    }
  }
  return layers;
}

// The least loss by trying every choice.
double BestByForce(const std::vector<std::vector<LayerOption>>& layers, double budget) {
  std::size_t choices = 1;
  for (const auto& options : layers) choices *= options.size();
  double best = std::numeric_limits<double>::infinity();
  for (std::size_t choice = 0; choice < choices; ++choice) {
    double cost = 0;
    double loss = 0;
    std::size_t rest = choice;
    for (const auto& options : layers) {
      const LayerOption& option = options[rest % options.size()];
      rest /= options.size();
      cost += option.cost;
      loss += option.loss;
    }
    if (cost <= budget) best = std::min(best, loss);
  }
  return best;
}

TEST_CASE("Allocate: nothing within the budget loses less") {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const auto layers = RandomLayers(seed, 5);
    const double budget = 150 + 10 * static_cast<double>(seed % 7);
    const double best = BestByForce(layers, budget);
    if (!std::isfinite(best)) continue;
    const Allocation allocation = Get(Allocate(layers, budget, "bytes"));
    CHECK(allocation.cost <= budget);
    CHECK(allocation.loss == doctest::Approx(best));
  }
}

TEST_CASE("Allocate: a budget that just holds the cheapest is enough, one below says the least") {
  const std::vector<std::vector<LayerOption>> layers = {{{100, 1}, {200, 0}}, {{50, 2}, {60, 1}}};
  const Allocation allocation = Get(Allocate(layers, 150, "bytes"));
  CHECK(allocation.chosen == std::vector<std::size_t>{0, 0});
  CHECK(Get(Allocate(layers, 160, "bytes")).chosen == std::vector<std::size_t>{0, 1});
  const auto refused = Allocate(layers, 149, "bytes");
  REQUIRE(CodeOf(refused) == ErrorCode::kInvalidArgument);
  CHECK(refused.error().message.find("149 bytes cannot be reached; the least is 150") !=
        std::string::npos);
  CHECK(Get(Allocate({}, 0, "bytes")).chosen.empty());
}

TEST_CASE("Allocate: numbers that are none and layers without options are refused") {
  const double nan = std::nan("");
  using Layers = std::vector<std::vector<LayerOption>>;
  CHECK(CodeOf(Allocate(Layers{{}}, 1, "")) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(Allocate(Layers{{{1, nan}}}, 1, "")) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(Allocate(Layers{{{-1, 0}}}, 1, "")) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(Allocate(Layers{{{1, 0}}}, nan, "")) == ErrorCode::kInvalidArgument);
}

TEST_CASE("SearchAllocation: finds what single losses cannot tell, and keeps the start if best") {
  const auto layers = RandomLayers(3, 6);
  const double budget = 250;
  const Allocation start = Get(Allocate(layers, budget, "bytes"));
  // Layers 0 and 1 may not both have their start's options: what no sum of single losses says.
  const MeasureLoss measure = [&](std::span<const std::size_t> chosen) -> Result<double> {
    double loss = 0;
    for (std::size_t i = 0; i < chosen.size(); ++i) loss += layers[i][chosen[i]].loss;
    const bool both = chosen[0] == start.chosen[0] && chosen[1] == start.chosen[1];
    return both ? loss + 20 : loss;
  };
  const Allocation found = Get(SearchAllocation(layers, budget, start, measure, 150, RngStream(1)));
  CHECK(found.loss < Get(measure(start.chosen)));
  CHECK(found.cost <= budget);
  CHECK(found.loss == Get(measure(found.chosen)));
  CHECK(Get(SearchAllocation(layers, budget, start, measure, 150, RngStream(1))).chosen ==
        found.chosen);
  CHECK(Get(SearchAllocation(layers, budget, start, measure, 1, RngStream(1))).chosen ==
        start.chosen);
}

constexpr std::uint8_t kWidths[] = {2, 3, 4, 5, 6, 8};

std::vector<nn::WeightSpec> Codings() {
  std::vector<nn::WeightSpec> codings;
  for (const std::uint8_t bits : kWidths) codings.push_back({.bits = bits});
  return codings;
}

// Bits of all weights.
double CostOf(const nn::Graph& graph, std::size_t node, const nn::WeightSpec& coding) {
  const Shape& shape = graph.parameters[graph.nodes[node].parameters[0]].shape;
  const std::size_t channels = shape[shape.rank() - 1];
  return static_cast<double>(nn::WeightBits(coding, shape.count() / channels, channels));
}

std::vector<std::vector<LayerOption>> OptionsOf(const nn::Graph& graph,
                                                const Sensitivity& sensitivity) {
  std::vector<std::vector<LayerOption>> layers;
  for (std::size_t i = 0; i < sensitivity.nodes.size(); ++i) {
    layers.emplace_back();
    for (std::size_t k = 0; k < std::size(kWidths); ++k) {
      layers.back().push_back(
          {CostOf(graph, sensitivity.nodes[i], Codings()[k]), sensitivity.losses[i][k]});
    }
  }
  return layers;
}

double DivergenceOf(const Branches& model, const nn::SampleValues& samples,
                    std::span<const std::size_t> chosen) {
  const std::vector<std::size_t> nodes = WeightNodes(model.graph);
  WeightPlan plan;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    plan.by_node[model.graph.nodes[nodes[i]].name] = Codings()[chosen[i]];
  const RoundedWeights rounded = Get(RoundWeights(model.graph, model.parameters, plan));
  return LogitDivergence(model.Logits(model.parameters, samples),
                         model.Logits(rounded.parameters, samples), 8);
}

TEST_CASE("Mixed precision: by each measure it loses less than uniform bits of the same bytes") {
  const Branches model;
  const std::vector<nn::WeightSpec> codings = Codings();
  const Sensitivity by_logits =
      Get(SensitivityByLogits(model.graph, model.parameters, model.Seen(), codings));
  const Sensitivity by_hessian = Get(SensitivityByHessian(
      model.graph, model.parameters, model.Labelled(), codings, 20, RngStream(2)));
  const Sensitivity by_fisher =
      Get(SensitivityByFisher(model.graph, model.parameters, model.Labelled(), codings));
  for (const std::size_t uniform : {std::size_t{1}, std::size_t{2}}) {  // 3 and 4 bits.
    CAPTURE(uniform);
    const std::vector<std::size_t> same(4, uniform);
    double budget = 0;
    for (const auto& options : OptionsOf(model.graph, by_logits)) budget += options[uniform].cost;
    const double plain = DivergenceOf(model, model.Unseen(), same);
    for (const Sensitivity* sensitivity : {&by_logits, &by_hessian, &by_fisher}) {
      const auto options = OptionsOf(model.graph, *sensitivity);
      const Allocation mixed = Get(Allocate(options, budget, "bits"));
      CHECK(mixed.cost <= budget);
      CHECK(DivergenceOf(model, model.Unseen(), mixed.chosen) < 0.7 * plain);
    }
    const MeasureLoss measure = [&](std::span<const std::size_t> chosen) -> Result<double> {
      return DivergenceOf(model, model.Seen(), chosen);
    };
    const Allocation searched = Get(
        SearchAllocation(OptionsOf(model.graph, by_logits), budget, {}, measure, 60, RngStream(3)));
    CHECK(DivergenceOf(model, model.Unseen(), searched.chosen) < 0.7 * plain);
  }
}

TEST_CASE("Sensitivity: more bits lose less, by every measure, also on digits") {
  const testing::DigitsModel& model = testing::SmallConvolutions();
  const nn::SampleValues inputs = testing::TrainDigits().First(64);
  const LabelledSamples samples{inputs, std::span(testing::TrainDigits().labels).first(64)};
  const std::vector<nn::WeightSpec> codings = {{.bits = 2}, {.bits = 4}, {.bits = 8}};
  for (const Sensitivity& sensitivity :
       {Get(SensitivityByLogits(model.graph, model.parameters, inputs, codings)),
        Get(SensitivityByFisher(model.graph, model.parameters, samples, codings)),
        Get(SensitivityByHessian(model.graph, model.parameters, samples, codings, 10,
                                 RngStream(1)))}) {
    CHECK(sensitivity.nodes == WeightNodes(model.graph));
    for (const std::vector<double>& losses : sensitivity.losses) {
      CHECK(losses[0] >= losses[1]);
      CHECK(losses[1] >= losses[2]);
      CHECK(losses[2] >= 0);
    }
  }
}

TEST_CASE("Sensitivity: samples, labels and codings that cannot be meant are refused") {
  const Branches model;
  const std::vector<nn::WeightSpec> codings = Codings();
  const std::vector<std::int32_t> wrong = {1, 8};
  const std::vector<std::int32_t> right = {1, 7};
  const nn::SampleValues two{std::span(model.values).first(32), 2};
  const auto fisher = [&](const LabelledSamples& samples) {
    return CodeOf(SensitivityByFisher(model.graph, model.parameters, samples, codings));
  };
  CHECK(fisher({two, right}) == ErrorCode::kOk);
  CHECK(fisher({{}, {}}) == ErrorCode::kInvalidArgument);
  CHECK(fisher({two, wrong}) == ErrorCode::kInvalidArgument);
  CHECK(fisher({two, std::span(right).first(1)}) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(SensitivityByHessian(model.graph, model.parameters, {two, right}, codings, 0,
                                    RngStream(1))) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(SensitivityByLogits(model.graph, model.parameters, two, {})) ==
        ErrorCode::kInvalidArgument);
  const std::vector<nn::WeightSpec> odd = {{.bits = 9}};
  CHECK(CodeOf(SensitivityByLogits(model.graph, model.parameters, two, odd)) ==
        ErrorCode::kInvalidArgument);
}

TEST_CASE("SensitivityByHessian: the trace of a known curvature is found") {
  // One dense layer with softmax cross entropy: tr H = mean of |x|^2 * sum p (1 - p).
  const nn::Graph graph =
      Get(nn::BuildGraph(Shape{3}, std::vector<std::string>{"dense 2"}, "softmax_cross_entropy"));
  std::vector<float> parameters(8, 0.1F);  // Equal logits: p = 1/2, sum p (1 - p) = 1/2.
  const std::vector<float> x = {1, 2, 3, -1, 0, 1};
  const std::vector<std::int32_t> labels = {0, 1};
  parameters[0] = 0.1001F;  // So that rounding to 2 bits changes something.
  const std::vector<nn::WeightSpec> codings = {{.bits = 2, .scaling = nn::WeightScaling::kTensor}};
  const Sensitivity sensitivity =
      Get(SensitivityByHessian(graph, parameters, {{x, 2}, labels}, codings, 400, RngStream(5)));
  const nn::WeightGrid grid = Get(nn::FitWeightGrid({std::span(parameters).first(6), 2}, codings[0],
                                                    nn::WeightClip::kSquaredError));
  std::vector<float> rounded(6);
  nn::RoundToGrid(grid, std::span(parameters).first(6), rounded);
  double square = 0;
  for (std::size_t i = 0; i < 6; ++i)
    square += std::pow(static_cast<double>(rounded[i]) - static_cast<double>(parameters[i]), 2);
  const double trace = (14.0 + 2.0) / 2 / 2;
  CHECK(sensitivity.losses[0][0] == doctest::Approx(trace / 6 * square).epsilon(0.2));
}

}  // namespace
}  // namespace fl::deploy
