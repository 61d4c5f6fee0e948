#include "fl/client/train/trainer.h"

#include <algorithm>

#include <doctest/doctest.h>

#include "fl/client/train/training_job.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/wire/update.h"
#include "fl/compression/samples/evaluate_model.h"
#include "fl/tests/client/fake_federation.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::MakeData;
using testing::MakePlan;
using testing::PlanText;

struct Bench {
  explicit Bench(const std::string& text = PlanText())
      : plan(MakePlan(text)),
        data(MakeData(*plan, 60)),
        model(nn::InitializeParameters(plan->graph, RngStream(1))) {}

  Result<LocalDelta> Train(const RngStream& rng, std::uint64_t round = 1) {
    return Trainer(plan->graph, plan->plan.training, round, stop).Train(model, data.training, rng);
  }
  TrainingJob Job() const {
    TrainingJob job;
    job.task.id = 9;
    job.task.round = 1;
    job.task.recipe = plan->delta.digest().prefix();
    job.client = "device";
    job.plan = plan;
    job.model = std::make_shared<NamedTensors>(model);
    job.round_parameters = std::make_shared<RoundParameters>();
    return job;
  }

  std::shared_ptr<const CheckedPlan> plan;
  LocalData data;
  NamedTensors model;
  std::atomic<bool> stop = false;
};

TEST_CASE("EvaluateModel: the same bits on any number of threads") {
  const Bench bench;
  const LocalData data = MakeData(*bench.plan, 2500);
  const auto evaluate = [&](ThreadPool* pool) {
    return Get(EvaluateModel(bench.plan->graph, bench.model.values, data.training, pool));
  };
  const nn::Evaluation alone = evaluate(nullptr);
  CHECK(alone.count == data.training.count());
  CHECK(alone.count > 1200);
  for (const std::size_t threads : {0U, 3U}) {
    ThreadPool pool(threads);
    const nn::Evaluation shared = evaluate(&pool);
    CHECK(shared.loss == alone.loss);
    CHECK(shared.accuracy == alone.accuracy);
    CHECK(shared.count == alone.count);
  }
}

TEST_CASE("Trainer: the same model and samples and stream give the same bits") {
  Bench bench;
  const LocalDelta first = Get(bench.Train(RngStream(3)));
  CHECK(first.delta == Get(bench.Train(RngStream(3))).delta);
  CHECK(first.delta != Get(bench.Train(RngStream(4))).delta);
  CHECK(first.examples == bench.data.training.count());
}

TEST_CASE("Trainer: the delta makes the model better") {
  Bench bench;
  const LocalDelta local = Get(bench.Train(RngStream(3)));
  NamedTensors after = bench.model;
  for (std::size_t i = 0; i < after.values.size(); ++i) {
    after.values[i] += local.delta.values[i];
  }
  const double before =
      Get(EvaluateModel(bench.plan->graph, bench.model.values, bench.data.holdout)).loss;
  CHECK(Get(EvaluateModel(bench.plan->graph, after.values, bench.data.holdout)).loss < before);
}

TEST_CASE("Trainer: the statistics of batch norms are part of the delta") {
  std::string text = PlanText();
  const std::size_t layers = text.find("layers = [");
  REQUIRE(layers != std::string::npos);
  text.insert(text.find('[', layers) + 1, "\"batchnorm\", ");
  Bench bench(text);
  const LocalDelta local = Get(bench.Train(RngStream(3)));
  REQUIRE(bench.plan->graph.statistics.size() == 2);
  for (const std::size_t tensor : bench.plan->graph.statistics)
    CHECK(NormL2(local.delta.tensor(tensor)) > 0);
}

TEST_CASE("Trainer: the learning rate decays from round to round") {
  std::string text = PlanText();
  text.insert(text.find("learning_rate"), "learning_rate_decay = 0.5\n");
  Bench bench(text);
  const double first = NormL2(Get(bench.Train(RngStream(3), 1)).delta.values);
  const double fifth = NormL2(Get(bench.Train(RngStream(3), 5)).delta.values);
  CHECK(fifth < first / 4);
}

TEST_CASE("Trainer: a strong proximal term keeps the model near") {
  std::string text = PlanText();
  text.insert(text.find("learning_rate"), "proximal = 5.0\n");
  const double near = NormL2(Get(Bench(text).Train(RngStream(3))).delta.values);
  CHECK(near < NormL2(Get(Bench().Train(RngStream(3))).delta.values) / 2);
}

TEST_CASE("Trainer: frozen tensors do not move and are in no update and no residual") {
  std::string text = PlanText("quantize 4");
  text.insert(text.find("learning_rate"),
              "freeze = [\"*.weight\"]\nweight_decay = 0.1\nmomentum = 0.5\n");
  Bench bench(text);
  const LocalDelta local = Get(bench.Train(RngStream(3)));
  CHECK(NormL2(local.delta.tensor(0)) == 0);
  CHECK(NormL2(local.delta.tensor(1)) > 0);
  const TrainingResult result = Get(RunTraining(bench.Job(), bench.data, bench.stop));
  const auto view = Get(wire::DecodeUpdate(result.update, {}));
  CHECK(view.streams[0].entries.size() == 1);
  REQUIRE(result.residual != nullptr);
  CHECK(result.residual->layout == TensorLayout({{"dense1.bias", {3}}}));
}

TEST_CASE("Trainer: no samples are refused") {
  Bench bench;
  const data::Subset none(bench.data.training.shared_dataset(), {});
  const Trainer trainer(bench.plan->graph, bench.plan->plan.training, 1, bench.stop);
  CHECK(CodeOf(trainer.Train(bench.model, none, RngStream(1))) == ErrorCode::kInvalidArgument);
}

TEST_CASE("Trainer: stops when it is told to") {
  Bench bench;
  bench.stop = true;
  CHECK(CodeOf(bench.Train(RngStream(1))) == ErrorCode::kUnavailable);
}

TEST_CASE("Trainer: a diverging model is an error and not an update") {
  std::string text = PlanText();
  const std::string rate = "learning_rate = 0.1";
  text.replace(text.find(rate), rate.size(), "weight_decay = 1.0\nlearning_rate = 1000.0");
  Bench bench(text);
  CHECK(CodeOf(bench.Train(RngStream(1))) == ErrorCode::kNotFinite);
}

TEST_CASE("RunTraining: with a width below 1 trains the round's units alone, and fully") {
  std::string text = PlanText();
  text.replace(text.find("layers = ["), 10, "layers = [\"dense 8\", \"relu\", ");
  text.insert(text.find("learning_rate"), "width = 0.5\n");
  Bench bench(text);
  TrainingJob job = bench.Job();
  job.task.round = 3;
  job.round_parameters = std::make_shared<RoundParameters>(RoundParameters{{}, 3});
  const TrainingResult result = Get(RunTraining(job, bench.data, bench.stop));
  const auto update = Get(wire::DecodeUpdate(result.update, {}));
  std::vector<float> delta;
  for (std::size_t i = 0; i < bench.plan->delta.segments().size(); ++i) {
    const Codec& codec = *bench.plan->delta.segments()[i].codec;
    const auto parsed =
        Get(codec.Parse(update.streams[0].entries[i].payload, *job.round_parameters, {}));
    std::vector<float> values(codec.count());
    codec.DecodeAdd(*parsed, 0, 1.0F, values);
    delta.insert(delta.end(), values.begin(), values.end());
  }
  REQUIRE(delta.size() == bench.model.values.size());
  const auto trained = bench.plan->narrowing->AllCoordinates(3);
  CHECK(trained.size() < delta.size());
  std::size_t moved = 0;
  for (std::size_t i = 0; i < delta.size(); ++i) {
    const bool drawn = std::ranges::binary_search(trained, i);
    if (!drawn) CHECK(delta[i] == 0);
    moved += delta[i] != 0 ? 1 : 0;
  }
  CHECK(moved > trained.size() / 2);  // All but units that never fire.
}

TEST_CASE("RunTraining: names task and base and recipe and has delta and metrics") {
  Bench bench;
  const TrainingResult result = Get(RunTraining(bench.Job(), bench.data, bench.stop));
  const auto view = Get(wire::DecodeUpdate(result.update, {}));
  CHECK(view.task.value == 9);
  CHECK(view.recipe == bench.plan->delta.digest().prefix());
  CHECK(view.examples == bench.data.training.count());
  REQUIRE(view.streams.size() == 2);
  CHECK(view.streams[0].entries.size() == 2);
  CHECK(result.metrics.holdout_examples == static_cast<float>(bench.data.holdout.count()));
  CHECK(result.metrics.loss_before > 0);
  CHECK(result.metrics.loss_after > 0);
  CHECK(result.residual == nullptr);
}

TEST_CASE("RunTraining: the same job gives the same bytes and residual") {
  Bench bench(PlanText("top_k 20% | quantize 4 stochastic"));
  const TrainingResult first = Get(RunTraining(bench.Job(), bench.data, bench.stop));
  const TrainingResult second = Get(RunTraining(bench.Job(), bench.data, bench.stop));
  CHECK(first.update == second.update);
  REQUIRE(first.residual != nullptr);
  CHECK(*first.residual == *second.residual);
}

TEST_CASE("RunTraining: what it sends is within the clip's norm") {
  Bench bench(PlanText("raw", "\n[privacy]\nclip_norm = 0.01\n"));
  const TrainingResult result = Get(RunTraining(bench.Job(), bench.data, bench.stop));
  const auto view = Get(wire::DecodeUpdate(result.update, {}));
  NamedTensors sent(bench.plan->graph.parameters);
  for (const auto& entry : view.streams[0].entries) {
    const Codec& codec = *bench.plan->delta.segments()[entry.segment].codec;
    const auto payload = Get(codec.Parse(entry.payload, {}, {}));
    std::vector<float> values(codec.count());
    codec.DecodeAdd(*payload, 0, 1.0F, values);
    bench.plan->delta.Scatter(entry.segment, values, sent.values);
  }
  CHECK(NormL2(sent.values) == doctest::Approx(0.01).epsilon(1e-5));
}

TEST_CASE("RunTraining: a plan's own stream counts the labels") {
  Bench bench(PlanText("raw",
                       "\n[[stream]]\nname = \"labels\"\nsource = \"label_counts\"\n"
                       "recipe = \"raw\"\ncombiner = \"sum\"\n"));
  const TrainingResult result = Get(RunTraining(bench.Job(), bench.data, bench.stop));
  const auto view = Get(wire::DecodeUpdate(result.update, {}));
  REQUIRE(view.streams.size() == 3);
  const SegmentPlan& labels = bench.plan->streams[0];
  const Codec& codec = *labels.segments()[0].codec;
  const auto payload = Get(codec.Parse(view.streams[2].entries[0].payload, {}, {}));
  std::vector<float> counts(codec.count());
  codec.DecodeAdd(*payload, 0, 1.0F, counts);
  const auto expected = bench.data.training.LabelCounts();
  REQUIRE(counts.size() == expected.size());
  for (std::size_t i = 0; i < counts.size(); ++i) {
    CHECK(counts[i] == static_cast<float>(expected[i]));
  }
}

TEST_CASE("RunTraining: samples of another shape are refused") {
  Bench bench;
  data::Samples samples;
  samples.shape = Shape{5};
  samples.classes = 3;
  samples.labels = {0, 1};
  samples.features = std::vector<float>(10);
  auto dataset = std::make_shared<const data::Dataset>(Get(data::Dataset::Create(samples)));
  const LocalData other = SplitLocalData(data::Subset(dataset), bench.plan->plan, "device");
  CHECK(CodeOf(RunTraining(bench.Job(), other, bench.stop)) == ErrorCode::kShapeMismatch);
}

TEST_CASE("SplitLocalData: the parts are disjoint and the same for the same name") {
  Bench bench;
  const LocalData& data = bench.data;
  CHECK(data.training.count() == 48);
  CHECK(data.holdout.count() == 12);
  CHECK(data.calibration.count() == 3);
  CHECK(data.verification.count() == 9);
  std::vector<std::uint32_t> all;
  for (const data::Subset* part : {&data.training, &data.calibration, &data.verification}) {
    all.insert(all.end(), part->indices().begin(), part->indices().end());
  }
  std::ranges::sort(all);
  CHECK(std::ranges::adjacent_find(all) == all.end());
  CHECK(all.size() == 60);
  const LocalData again = MakeData(*bench.plan, 60);
  CHECK(std::ranges::equal(again.training.indices(), data.training.indices()));
}

}  // namespace
}  // namespace fl::client
