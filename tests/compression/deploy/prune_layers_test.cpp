#include "fl/compression/deploy/prune_layers.h"

#include <algorithm>

#include <doctest/doctest.h>

#include "fl/tests/compression/deploy/digits.h"
#include "fl/tests/compression/deploy/random_graph.h"
#include "fl/tests/support/keep_trained.h"
#include "fl/tests/support/property.h"

namespace fl::deploy {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Digits;
using Lines = std::vector<std::string>;

// "NAME: removed nodes -> what is left" of each cut.
Lines Describe(const nn::Graph& graph) {
  Lines lines;
  for (const LayerCut& cut : FindLayerCuts(graph)) {
    std::string line = cut.name + ":";
    for (const std::string& name : cut.removed) line += " " + name;
    lines.push_back(line);
  }
  return lines;
}

nn::Graph Build(const Shape& input, const Lines& lines) {
  return Get(nn::BuildGraph(input, lines, "mean_squared_error"));
}

TEST_CASE("FindLayerCuts: branches of adds, and layers that keep the shape") {
  CHECK(
      Describe(Build(Shape{8, 8, 4},
                     {"conv 4 3x3 same", "batchnorm", "relu", "conv 6 3x3 same", "relu",
                      "conv 4 3x3 same", "sum: add relu1", "down: conv 8 3x3 stride=2 same", "relu",
                      "c: conv 8 3x3 same", "short: conv 8 1x1 stride=2 from=sum", "add c",
                      "global_avgpool", "dense 8", "relu", "dense 8", "relu", "dense 2"})) ==
      Lines{"conv1: conv1 batchnorm1", "sum: conv2 relu2 conv3 sum", "c: c",
            "add2: down relu3 c add2", "add2: short add2", "dense1: dense1",
            "dense2: dense2 relu5"});
}

TEST_CASE("FindLayerCuts: nothing where shapes change, and never the output") {
  const Lines cuts = Describe(Build(
      Shape{8, 8, 4}, {"conv 4 3x3 same", "batchnorm", "relu", "conv 6 3x3 same", "relu",
                       "conv 4 3x3 same", "sum: add relu1", "down: conv 8 3x3 stride=2 same",
                       "relu", "c: conv 8 3x3 same", "short: conv 8 1x1 stride=2 from=sum", "add c",
                       "global_avgpool", "dense 8", "relu", "dense 8", "relu", "dense 2"}));
  CHECK(cuts == Lines{"conv1: conv1 batchnorm1", "sum: conv2 relu2 conv3 sum", "c: c",
                      "add2: down relu3 c add2", "add2: short add2", "dense1: dense1",
                      "dense2: dense2 relu5"});
}

TEST_CASE("FindLayerCuts: nothing where shapes change, and never the output") {
  CHECK(Describe(Build(Shape{4}, {"dense 5", "relu", "dense 4"})).empty());
  CHECK(Describe(Build(Shape{4}, {"dense 4"})).empty());
}

TEST_CASE("FindLayerCuts: what is left of random graphs is a graph") {
  fl::testing::ForAll(60, [](RngStream& rng) {
    const nn::Graph graph = testing::RandomGraph(rng.Child("graph")).Build();
    for (const LayerCut& cut : FindLayerCuts(graph)) {
      CHECK(cut.graph.output_shape() == graph.output_shape());
      CHECK(cut.graph.nodes.size() + cut.removed.size() == graph.nodes.size());
      CHECK(SizeOf(cut.graph).parameters < SizeOf(graph).parameters);
    }
  });
}

// Four residual blocks, trained.
struct Trained {
  Trained() {
    parameters = fl::testing::KeepTrained("prune_layers", {}, [this] {
      std::vector<float> learned = nn::InitializeParameters(graph, RngStream(3)).values;
      digits.Train(graph, {.steps = 250, .adjust = {}, .settle = {}}, learned);
      return learned;
    });
  }
  static const Trained& Once() {
    static const Trained trained;
    return trained;
  }
  WorkingModel Start() const { return {graph, parameters}; }
  Result<PruneLayersOutcome> Try(const PruneLayersConfig& config, WorkingModel& model,
                                 const Retrain& retrain = nullptr) const {
    return PruneLayers(config, {digits.training, RngStream(1)}, retrain, model);
  }
  double Accuracy(const WorkingModel& model) const {
    return digits.Accuracy(model.graph, model.parameters);
  }

  Digits digits;
  nn::Graph graph =
      Digits::Build({"conv 12 5x5 stride=3", "relu", "a: conv 12 3x3 same", "batchnorm", "relu",
                     "sum_a: add relu1", "b: conv 12 3x3 same", "batchnorm", "relu",
                     "sum_b: add sum_a", "c: conv 12 3x3 same", "batchnorm", "relu",
                     "sum_c: add sum_b", "maxpool 2", "flatten", "dense 24", "relu", "dense 10"});
  std::vector<float> parameters;
};

TEST_CASE("PruneLayers: the block that goes is the one that is missed least") {
  const Trained& trained = Trained::Once();
  WorkingModel chosen = trained.Start();
  PruneLayersConfig config;
  config.layers = {"sum_a", "sum_b", "sum_c"};
  const PruneLayersOutcome outcome = Get(trained.Try(config, chosen));
  REQUIRE(outcome.cuts.size() == 1);
  CHECK(outcome.after.macs < 0.75 * outcome.before.macs);
  CHECK(outcome.after == SizeOf(chosen.graph));
  double worst = 1;
  for (const char* name : {"sum_a", "sum_b", "sum_c"}) {
    WorkingModel other = trained.Start();
    config.layers = {name};
    Get(trained.Try(config, other));
    CHECK(trained.Accuracy(other) <= trained.Accuracy(chosen) + 0.02);
    worst = std::min(worst, trained.Accuracy(other));
  }
  // 0.86 before, 0.86 without the chosen block and 0.58 without the worst, with these seeds.
  CHECK(trained.Accuracy(chosen) > worst + 0.1);
}

TEST_CASE("PruneLayers: cuts fall one after the other until a budget is kept, with training") {
  const Trained& trained = Trained::Once();
  WorkingModel model = trained.Start();
  PruneLayersConfig config;
  config.budget.macs_share = 0.5;
  config.samples = 200;
  std::uint32_t trainings = 0;
  const PruneLayersOutcome outcome =
      Get(trained.Try(config, model, [&](std::uint32_t step, WorkingModel& now) -> Result<> {
        CHECK(step == ++trainings);
        trained.digits.Train(now.graph, {.steps = 100, .adjust = {}, .settle = {}}, now.parameters);
        return {};
      }));
  CHECK(outcome.after.macs <= 0.5 * outcome.before.macs);
  CHECK(outcome.unreached.empty());
  CHECK(outcome.cuts.size() == trainings);
  CHECK(outcome.cuts.size() == 2);
  CHECK(trained.Accuracy(model) > trained.Accuracy(trained.Start()) - 0.05);
}

TEST_CASE("PruneLayers: says what was reached where it could not go on") {
  const Trained& trained = Trained::Once();
  PruneLayersConfig config;
  config.samples = 50;
  config.budget.parameters_max = 10;
  WorkingModel model = trained.Start();
  const PruneLayersOutcome outcome = Get(trained.Try(config, model));
  CHECK(outcome.cuts.size() == 3);
  CHECK(outcome.unreached == "expected at most 10 parameters, reached " +
                                 std::to_string(model.parameters.size()) +
                                 ", since no other layer can go as a whole");
  config.budget = {};
  config.count = 9;
  model = trained.Start();
  CHECK(Get(trained.Try(config, model)).unreached ==
        "expected 9 layers to go, found only 3 that can");
}

TEST_CASE("PruneLayers: what was decided about a removed layer goes with it") {
  const Trained& trained = Trained::Once();
  WorkingModel model = trained.Start();
  model.masks["a.weight"].assign(9 * 12 * 12, 1);
  model.masks["b.weight"].assign(9 * 12 * 12, 1);
  model.precision["a"] = {.bits = 4};
  model.precision["b"] = {.bits = 4};
  PruneLayersConfig config;
  config.samples = 50;
  config.layers = {"sum_a"};
  Get(trained.Try(config, model));
  CHECK(!model.masks.contains("a.weight"));
  CHECK(model.masks.contains("b.weight"));
  CHECK(!model.precision.contains("a"));
  CHECK(model.precision.contains("b"));
}

TEST_CASE("PruneLayers: unknown layers, missing samples and whole models are refused") {
  const Trained& trained = Trained::Once();
  WorkingModel model = trained.Start();
  PruneLayersConfig config;
  config.layers = {"sum_d"};
  const auto unknown = trained.Try(config, model);
  REQUIRE(CodeOf(unknown) == ErrorCode::kNotFound);
  CHECK(unknown.error().message.find("sum_a") != std::string::npos);
  config.layers = {"conv1"};
  CHECK(CodeOf(trained.Try(config, model)) == ErrorCode::kInvalidArgument);
  const data::Subset none(trained.digits.training.shared_dataset(), {});
  CHECK(CodeOf(PruneLayers({}, {none, RngStream(1)}, nullptr, model)) ==
        ErrorCode::kInvalidArgument);
  std::ranges::fill(model.parameters, 1e30F);
  CHECK(CodeOf(trained.Try({}, model)) == ErrorCode::kNotFinite);
}

}  // namespace
}  // namespace fl::deploy
