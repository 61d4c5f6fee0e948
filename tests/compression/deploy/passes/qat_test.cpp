#include "fl/compression/deploy/passes/qat.h"

#include <limits>

#include <doctest/doctest.h>

#include "fl/common/nn/model_file.h"
#include "fl/compression/deploy/run_passes.h"
#include "fl/tests/compression/deploy/digits.h"
#include "fl/tests/compression/deploy/list_of.h"
#include "fl/tests/support/keep_trained.h"
#include "fl/tests/support/sanitized.h"

namespace fl::deploy {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using fl::testing::kSanitized;
using testing::Digits;
using testing::Fields;
using testing::ListOf;
using testing::Passes;

// A teacher that knows digits, and what passes need.
struct Bench {
  Bench() {
    teacher = fl::testing::KeepTrained("qat", {}, [this] {
      std::vector<float> learned = nn::InitializeParameters(graph, RngStream(3)).values;
      digits.Train(graph, {.steps = 500, .weight_decay = 0.001, .adjust = {}, .settle = {}},
                   learned);
      return learned;
    });
  }
  static const Bench& Once() {
    static const Bench bench;
    return bench;
  }
  Result<DeployReport> Run(const Passes& passes) const { return Run(passes, digits.training); }
  Result<DeployReport> Run(const Passes& passes, const data::Subset& training) const {
    FL_TRY(const PassList list, ParsePassList(ListOf(passes), graph, PassListUse::kFile));
    const std::atomic<bool> stop = false;
    const data::Subset calibration(training.shared_dataset(), {});
    return RunPasses(list, {.teacher = {graph, teacher},
                            .training = training,
                            .calibration = calibration,
                            .verification = digits.test,
                            .gate = {.drop_points_max = 3},
                            .rng = RngStream(5),
                            .stop = stop,
                            .normalization = "unit",
                            .labels = {},
                            .notes = {}});
  }

  Digits digits;
  nn::Graph graph = Digits::Build({"conv 8 5x5 stride=2", "relu", "maxpool 2", "conv 16 3x3",
                                   "relu", "flatten", "dense 32", "relu", "dense 10"});
  std::vector<float> teacher;
};

const std::pair<std::string, Fields> kInt8 = {"ptq_static", {}};
const std::pair<std::string, Fields> kVerify = {"verify", {{"lsb_max", 0.0}}};

// The settings of weights, with those of the training behind them.
Fields With(Fields settings, const Fields& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}
const Fields kTwoBits = {
    {"bits", std::int64_t{2}}, {"granularity", std::string("group")}, {"group", std::int64_t{16}}};
const Fields kTraining = {{"steps", std::int64_t{200}}, {"learning_rate", 0.02}};

// Accuracy of weights rounded once, to the very grids that training begins with.
double RoundedOnce(const Fields& weights) {
  const Fields still = {{"steps", std::int64_t{1}}, {"learning_rate", 1e-6}};
  return Get(Bench::Once().Run({{"qat", With(weights, still)}, kInt8, kVerify}))
      .measured.local_accuracy;
}

TEST_CASE("qat: 2 bits in groups lose much by rounding, little by training") {
  const DeployReport report =
      Get(Bench::Once().Run({{"qat", With(kTwoBits, kTraining)}, kInt8, kVerify}));
  const double rounded = RoundedOnce(kTwoBits);
  MESSAGE("global " << report.measured.teacher_accuracy << ", rounded " << rounded << ", trained "
                    << report.measured.local_accuracy << "; " << report.lines.back());
  CHECK_MESSAGE(report.accepted, report.reason);
  CHECK(report.measured.local_accuracy > report.measured.teacher_accuracy - 0.025);
  CHECK((report.measured.local_accuracy > rounded + 0.05 || kSanitized));
  const auto file = Get(nn::ParseModelFile(report.model));
  CHECK(std::get<nn::QuantizedModel>(file.model).nodes[1].coding.bits == 2);
}

TEST_CASE("qat: learned and fitted steps both make up for 2 bits by tensor") {
  const Fields weights = {{"bits", std::int64_t{2}}, {"granularity", std::string("tensor")}};
  const double rounded = RoundedOnce(weights);
  for (const bool learned : {true, false}) {
    const Fields training = With(kTraining, {{"learned_steps", learned}});
    const double trained =
        Get(Bench::Once().Run({{"qat", With(weights, training)}, kInt8, kVerify}))
            .measured.local_accuracy;
    MESSAGE(std::string(learned ? "learned " : "fitted ") << trained << ", rounded " << rounded);
    CHECK(trained > rounded + 0.05);
  }
}

TEST_CASE("qat: the simulation gives the integer engine's bits") {
  for (const Fields& weights :
       {Fields{}, kTwoBits, Fields{{"bits", std::int64_t{4}}, {"symmetric", false}}}) {
    const DeployReport report =
        Get(Bench::Once().Run({{"qat", With(weights, kTraining)}, kInt8, kVerify}));
    MESSAGE(report.lines.back());
    CHECK_MESSAGE(report.reason.find("simulation") == std::string::npos, report.reason);
    CHECK(report.lines.back().find("within 0 units, 100.0 % of outputs the same bits") !=
          std::string::npos);
  }
}

TEST_CASE("qat: same seed, same bytes") {
  const Passes passes = {{"qat", With(kTwoBits, {{"steps", std::int64_t{20}}})}, kInt8, kVerify};
  CHECK(Get(Bench::Once().Run(passes)).model == Get(Bench::Once().Run(passes)).model);
}

TEST_CASE("qat: what was pruned stays zero") {
  const DeployReport report =
      Get(Bench::Once().Run({{"prune_weights", {{"sparsity", 0.5}}},
                             {"qat", With(kTwoBits, {{"steps", std::int64_t{30}}})},
                             kInt8,
                             kVerify}));
  const auto file = Get(nn::ParseModelFile(report.model));
  std::size_t zeros = 0;
  std::size_t weights = 0;
  for (const nn::QuantizedNode& node : std::get<nn::QuantizedModel>(file.model).nodes) {
    zeros += static_cast<std::size_t>(std::ranges::count(node.weight, std::int8_t{0}));
    weights += node.weight.size();
  }
  CHECK(2 * zeros >= weights);
}

TEST_CASE("qat: wrong orders and settings are refused with a reason") {
  const auto error = [](const Passes& passes) {
    const auto report = Bench::Once().Run(passes);
    return report ? std::string("accepted") : report.error().message;
  };
  CHECK(error({kInt8, {"qat", {}}, kVerify}).find("qat must come before ptq_static") !=
        std::string::npos);
  CHECK(error({{"qat", {}}, {"distil", {}}, kInt8, kVerify}).find("distil must come before qat") !=
        std::string::npos);
  CHECK(error({{"qat", {{"bits", std::int64_t{1}}}}, kInt8}).find("qat.bits") != std::string::npos);
  CHECK(error({{"qat", {{"granularity", std::string("group")}}}, kInt8})
            .find("groups at 7 bits or fewer") != std::string::npos);
  CHECK(error({{"qat", {{"observe", 1.5}}}, kInt8}).find("qat.observe") != std::string::npos);
  CHECK(error({{"qat", {{"layers", std::vector<std::string>{"nowhere 4"}}}}, kInt8})
            .find("nowhere") != std::string::npos);
  CHECK(error({{"adaround", {{"iterations", std::int64_t{1}}}}, {"qat", {}}, kInt8})
            .find("rounded already") != std::string::npos);
}

// Samples that all hold `value`.
data::Subset AllAre(float value) {
  data::Samples samples;
  samples.shape = Shape{28, 28, 1};
  samples.classes = 10;
  samples.features = std::vector<float>(40 * 784, value);
  samples.labels.assign(40, 1);
  return data::Subset(
      std::make_shared<data::Dataset>(Get(data::Dataset::Create(std::move(samples)))));
}

TEST_CASE("qat: constant and missing samples and batch norms are refused by name") {
  const Bench& bench = Bench::Once();
  const auto constant = bench.Run({{"qat", {}}, kInt8, kVerify}, AllAre(0.5F));
  REQUIRE(!constant);
  CHECK(constant.error().message.starts_with("qat: "));
  CHECK(constant.error().message.find("expected samples that vary") != std::string::npos);
  const data::Subset none(bench.digits.training.shared_dataset(), {});
  CHECK(CodeOf(bench.Run({{"qat", {}}, kInt8, kVerify}, none)) == ErrorCode::kInvalidArgument);

  WorkingModel model{
      .graph = Digits::Build({"conv 4 5x5 stride=4", "batchnorm", "flatten", "dense 10"})};
  model.parameters = nn::InitializeParameters(model.graph, RngStream(1)).values;
  const std::atomic<bool> stop = false;
  PassReport report;
  const auto folded = Qat(QatConfig{})
                          .Run({.teacher = {model.graph, model.parameters},
                                .training = bench.digits.training,
                                .calibration = none,
                                .verification = bench.digits.test,
                                .gate = {},
                                .rng = RngStream(1),
                                .stop = stop,
                                .normalization = "unit",
                                .labels = {},
                                .notes = {}},
                               model, report);
  CHECK(CodeOf(folded) == ErrorCode::kUnsupported);
  CHECK(folded.error().message.find("fold_batchnorm before qat") != std::string::npos);
}

TEST_CASE("qat: training that cannot succeed refuses the model") {
  const DeployReport report = Get(Bench::Once().Run({{"qat",
                                                      {{"steps", std::int64_t{60}},
                                                       {"learning_rate", 100.0},
                                                       {"momentum", 0.99},
                                                       {"clip", 1e6},
                                                       {"warmup", std::int64_t{0}}}},
                                                     kInt8,
                                                     kVerify}));
  CHECK(!report.accepted);
  CHECK_FALSE(report.reason.empty());
}

}  // namespace
}  // namespace fl::deploy
