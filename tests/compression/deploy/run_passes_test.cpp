#include "fl/compression/deploy/run_passes.h"

#include <cmath>
#include <numeric>

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/model_file.h"
#include "fl/compression/deploy/passes/distil.h"
#include "fl/compression/deploy/passes/fine_tune.h"
#include "fl/compression/deploy/passes/ptq_static.h"
#include "fl/compression/deploy/passes/verify.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

constexpr std::size_t kFeatures = 6;
constexpr std::size_t kClasses = 3;

// Points around the corners of the first three axes: a task that a linear model nearly solves.
std::shared_ptr<const data::Dataset> MakeData(std::size_t count) {
  data::Samples samples;
  samples.shape = Shape{kFeatures};
  samples.classes = kClasses;
  RngStream rng(1);
  std::vector<float> features(count * kFeatures);
  rng.FillNormal(features);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t label = i % kClasses;
    samples.labels.push_back(static_cast<std::int32_t>(label));
    for (std::size_t k = 0; k < kFeatures; ++k)
      features[i * kFeatures + k] = 0.4F * features[i * kFeatures + k] + (k == label ? 2.0F : 0.0F);
  }
  samples.features = std::move(features);
  return std::make_shared<data::Dataset>(testing::Get(data::Dataset::Create(std::move(samples))));
}

// A linear teacher that knows where the corners are, three disjoint parts of the data and a student
// to train.
struct Bench {
  Bench() : Bench(MakeData(600)) {}
  explicit Bench(const std::shared_ptr<const data::Dataset>& dataset)
      : training(dataset, Range(0, 420)),
        calibration(dataset, Range(420, 480)),
        verification(dataset, Range(480, 600)) {
    const std::vector<std::string> layers = {"dense 3"};
    teacher_graph = testing::Get(nn::BuildGraph(Shape{kFeatures}, layers, "softmax_cross_entropy"));
    teacher.assign(teacher_graph.parameters.total(), 0.0F);
    for (std::size_t label = 0; label < kClasses; ++label) teacher[label * kClasses + label] = 3.0F;
    distil.layers = {"dense 12", "relu", "dense 3"};
    distil.student =
        testing::Get(nn::BuildGraph(Shape{kFeatures}, distil.layers, "softmax_cross_entropy"));
  }
  static std::vector<std::uint32_t> Range(std::uint32_t first, std::uint32_t last) {
    std::vector<std::uint32_t> indices(last - first);
    std::iota(indices.begin(), indices.end(), first);
    return indices;
  }
  PassList passes() const {
    PassList list;
    if (distils) list.push_back({std::make_shared<Distil>(distil), {}});
    list.push_back({std::make_shared<PtqStatic>(PtqStaticConfig{}), {}});
    list.push_back({std::make_shared<Verify>(), {}});
    return list;
  }
  Result<DeployReport> Run() const { return Run(passes()); }
  Result<DeployReport> Run(const PassList& list) const { return RunPasses(list, inputs()); }
  PassInputs inputs(std::span<const float> logits = {}) const {
    return {.teacher = {teacher_graph, teacher, logits},
            .training = training,
            .calibration = calibration,
            .verification = verification,
            .gate = gate,
            .rng = RngStream(5),
            .stop = stop,
            .normalization = "none",
            .labels = {},
            .notes = {},
            .instruments = instruments};
  }

  data::Subset training;
  data::Subset calibration;
  data::Subset verification;
  nn::Graph teacher_graph;
  std::vector<float> teacher;
  const Instruments* instruments = nullptr;
  DistilConfig distil;
  bool distils = true;
  Gate gate;
  std::atomic<bool> stop = false;
};

TEST_CASE("RunPasses: a student learns from the teacher and is accepted as int8") {
  const auto report = testing::Get(Bench().Run());
  CHECK_MESSAGE(report.accepted, report.reason);
  CHECK(report.reason.empty());
  CHECK(report.lines.size() == 3);
  CHECK(report.measured.teacher_accuracy > 0.95);
  CHECK(report.measured.local_accuracy > 0.93);
  CHECK(report.measured.majority_share == doctest::Approx(1.0 / 3));
  CHECK(report.measured.bytes == report.model.size());
  const auto file = testing::Get(nn::ParseModelFile(report.model));
  const auto& model = std::get<nn::QuantizedModel>(file.model);
  CHECK(testing::Get(Accuracy(model, Bench().verification)) == report.measured.local_accuracy);
}

TEST_CASE("RunPasses: the same inputs give the same bytes") {
  CHECK(testing::Get(Bench().Run()).model == testing::Get(Bench().Run()).model);
}

TEST_CASE("RunPasses: without distil the teacher itself is quantized") {
  Bench bench;
  bench.distils = false;
  const auto report = testing::Get(bench.Run());
  CHECK_MESSAGE(report.accepted, report.reason);
  CHECK(report.measured.local_accuracy ==
        doctest::Approx(report.measured.teacher_accuracy).epsilon(0.02));
}

TEST_CASE("RunPasses: without layers the teacher goes on from its weights") {
  Bench bench;
  bench.distil.layers.clear();
  bench.distil.training.steps = 1;
  bench.distil.training.learning_rate = 1e-6;
  CHECK(testing::Get(bench.Run()).measured.local_accuracy > 0.95);
}

TEST_CASE("RunPasses: without ptq_static the fp32 model is verified, without verify nothing is") {
  const Bench bench;
  PassList list = bench.passes();
  list.erase(list.begin() + 1);
  const auto fp32 = testing::Get(bench.Run(list));
  CHECK_MESSAGE(fp32.accepted, fp32.reason);
  CHECK(std::holds_alternative<nn::FloatModel>(testing::Get(nn::ParseModelFile(fp32.model)).model));
  list.pop_back();
  const auto unverified = testing::Get(bench.Run(list));
  CHECK_FALSE(unverified.accepted);
  CHECK_FALSE(unverified.model.empty());
  CHECK(unverified.reason.find("verified") != std::string::npos);
}

TEST_CASE("RunPasses: the model file says by which passes it was made") {
  const auto file = testing::Get(nn::ParseModelFile(testing::Get(Bench().Run()).model));
  CHECK(file.notes.at("passes") == "distil, ptq_static, verify");
}

TEST_CASE("RunPasses: with instruments there is a row for the teacher and for each pass") {
  Bench bench;
  const Instruments instruments;  // No clock.
  bench.instruments = &instruments;
  const auto report = testing::Get(bench.Run());
  REQUIRE(report.rows.size() == 4);
  CHECK(report.rows[0].pass == "teacher");
  CHECK(report.rows[0].accuracy == report.measured.teacher_accuracy);
  CHECK(report.rows[1].pass == "distil");
  CHECK(report.rows[1].figures.front().name == "steps");
  CHECK(report.rows[1].noise.empty());
  CHECK(report.rows[2].file_bytes == report.model.size());
  CHECK_FALSE(report.rows[2].noise.empty());
  CHECK(report.rows[3].accuracy == report.measured.local_accuracy);
  CHECK_FALSE(report.rows[3].latency.has_value());
  CHECK(report.model == testing::Get(Bench().Run()).model);
}

TEST_CASE("RunPasses: a ruined student is refused") {
  Bench bench;
  bench.distil.training.steps = 1;  // As good as untrained: no loss can fall in one step.
  const auto untrained = testing::Get(bench.Run());
  CHECK_FALSE(untrained.accepted);
  CHECK(untrained.reason.find("did not fall") != std::string::npos);
  CHECK(untrained.lines.size() == 1);

  // A model whose weights are ruined comes to the gate and fails there, by the integer engine's
  // count.
  Bench ruined;
  ruined.distils = false;
  std::vector<float> wrong = ruined.teacher;
  for (std::size_t label = 0; label < kClasses; ++label) {
    wrong[label * kClasses + label] = 0;
    wrong[label * kClasses + (label + 1) % kClasses] = 3;
  }
  ruined.teacher = wrong;
  const auto refused = testing::Get(ruined.Run());
  CHECK_FALSE(refused.accepted);
  CHECK(refused.reason.find("most frequent class") != std::string::npos);
}

TEST_CASE("RunPasses: a loss that is not finite means another attempt with half the rate") {
  Bench bench;
  bench.distil.training.learning_rate = 1e30;
  bench.distil.training.clip = 1e6;
  bench.distil.training.warmup = 0;
  bench.distil.training.momentum = 0;
  const auto report = testing::Get(bench.Run());
  CHECK_FALSE(report.accepted);
  CHECK(report.lines.front().find("attempt 4") != std::string::npos);
}

TEST_CASE("RunPasses: the size of the file is bounded by the gate") {
  Bench bench;
  bench.gate.bytes_max = 100;
  CHECK(testing::Get(bench.Run()).reason.find("at most 100") != std::string::npos);
}

TEST_CASE("RunPasses: inputs that cannot be worked with are errors") {
  Bench none;
  CHECK(testing::CodeOf(none.Run({})) == ErrorCode::kInvalidArgument);
  Bench unverified;
  unverified.verification = data::Subset(unverified.training.shared_dataset(), {});
  CHECK(testing::CodeOf(unverified.Run()) == ErrorCode::kInvalidArgument);
  Bench untrained;
  untrained.training = data::Subset(untrained.training.shared_dataset(), {});
  CHECK(testing::CodeOf(untrained.Run()) == ErrorCode::kInvalidArgument);
  Bench short_teacher;
  short_teacher.teacher.pop_back();
  CHECK(testing::CodeOf(short_teacher.Run()) == ErrorCode::kShapeMismatch);
  Bench broken;
  broken.teacher[3] = NAN;
  CHECK(testing::CodeOf(broken.Run()) == ErrorCode::kNotFinite);
  Bench stopped;
  stopped.stop = true;
  CHECK(testing::CodeOf(stopped.Run()) == ErrorCode::kUnavailable);
}

TEST_CASE("WhyRefused: each bound at its edge") {
  const Gate gate{.drop_points_max = 2, .bytes_max = 1000};
  CHECK(WhyRefused({0.90, 0.88, 0.3, 1000}, gate).empty());
  CHECK(WhyRefused({0.90, 0.8799, 0.3, 1000}, gate).find("below the global model") !=
        std::string::npos);
  CHECK(WhyRefused({0.31, 0.30, 0.3, 1000}, gate).find("most frequent class") != std::string::npos);
  CHECK(WhyRefused({0.31, 0.31, 0.3, 1000}, gate).empty());
  CHECK(WhyRefused({1, 1, 1, 1000}, gate).empty());
  CHECK(WhyRefused({0.90, 0.90, 0.3, 1001}, gate).find("1001 bytes") != std::string::npos);
  CHECK(WhyRefused({0.90, 0.90, 0.3, 100000}, {.drop_points_max = 2, .bytes_max = 0}).empty());
}

TEST_CASE("RunPassAt: one pass after the other makes the file that RunPasses makes") {
  Bench bench;
  PassList list = bench.passes();
  FineTunePassConfig again;
  again.teacher = true;
  again.training.steps = 20;
  for (int i = 0; i < 2; ++i)  // Each draws other batches.
    list.insert(list.begin() + 1, {std::make_shared<FineTunePass>(again), {}});
  const auto whole = testing::Get(bench.Run(list));
  // Here the teacher was asked once, ahead of all.
  const auto logits =
      testing::Get(TeacherLogits({bench.teacher_graph, bench.teacher}, bench.training));
  const PassInputs inputs = bench.inputs(logits);
  WorkingModel model{.graph = bench.teacher_graph, .parameters = bench.teacher};
  for (std::size_t i = 0; i < list.size(); ++i)
    REQUIRE(RunPassAt(list, i, inputs, model).has_value());
  CHECK(FileBehind(list, inputs, model) == whole.model);
}

TEST_CASE("FineTune: logits of other samples are refused") {
  Bench bench;
  const std::vector<float> logits(5);
  const PassInputs inputs = bench.inputs(logits);
  CHECK(testing::CodeOf(RunPasses(bench.passes(), inputs)) == ErrorCode::kShapeMismatch);
}

TEST_CASE("RunPasses: a device's profile without int8 refuses to round") {
  Bench bench;
  HardwareProfile profile;
  profile.types = {"fp32"};
  PassInputs inputs = bench.inputs();
  inputs.profile = &profile;
  const auto refused = RunPasses(bench.passes(), inputs);
  CHECK(testing::CodeOf(refused) == ErrorCode::kUnsupported);
  CHECK(refused.error().message.find("no int8") != std::string::npos);
}

}  // namespace
}  // namespace fl::deploy
