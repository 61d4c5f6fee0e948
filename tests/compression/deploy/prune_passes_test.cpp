#include <algorithm>

#include <doctest/doctest.h>

#include "fl/common/base/file.h"
#include "fl/common/nn/model_file.h"
#include "fl/compression/deploy/passes/prune_channels.h"
#include "fl/compression/deploy/passes/prune_layers.h"
#include "fl/compression/deploy/passes/prune_weights.h"
#include "fl/compression/deploy/run_passes.h"
#include "fl/tests/compression/deploy/digits.h"
#include "fl/tests/compression/deploy/list_of.h"
#include "fl/tests/support/keep_trained.h"
#include "fl/tests/support/sanitized.h"
#include "fl/tests/support/temporary_folder.h"

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
    teacher = fl::testing::KeepTrained("prune_passes", {}, [this] {
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

  Result<PassList> Parse(const Passes& passes, PassListUse use = PassListUse::kFile) const {
    return ParsePassList(ListOf(passes), graph, use);
  }
  Result<DeployReport> Run(const Passes& passes, const HardwareProfile* profile = nullptr) const {
    FL_TRY(const PassList list, Parse(passes));
    const std::atomic<bool> stop = false;
    const data::Subset calibration(digits.training.shared_dataset(), {});
    return RunPasses(list, {.teacher = {graph, teacher},
                            .training = digits.training,
                            .calibration = calibration,
                            .verification = digits.test,
                            .gate = {.drop_points_max = 3},
                            .rng = RngStream(5),
                            .stop = stop,
                            .normalization = "unit",
                            .labels = {},
                            .notes = {},
                            .profile = profile});
  }

  Digits digits;
  nn::Graph graph = Digits::Build({"conv 16 5x5 stride=2", "relu", "conv 32 5x5 stride=2", "relu",
                                   "flatten", "dense 64", "relu", "dense 10"});
  std::vector<float> teacher;
};

const std::pair<std::string, Fields> kInt8 = {"ptq_static", {}};
const std::pair<std::string, Fields> kVerify = {"verify", {}};

TEST_CASE("prune_channels: a device's channel multiple is obeyed") {
  HardwareProfile profile;
  profile.channel_multiple = 16;
  const auto report = Get(Bench::Once().Run(
      {{"prune_channels", {{"keep", 0.3}, {"multiple", std::int64_t{4}}}}, kVerify}, &profile));
  const auto file = Get(nn::ParseModelFile(report.model));
  for (const nn::Node& node : file.graph().nodes) {
    if (node.name == "dense2" || node.parameters.empty()) continue;
    CHECK(node.shape[node.shape.rank() - 1] % 16 == 0);
  }
}

TEST_CASE("prune_channels: half the channels, a training after each step, less than a third") {
  const Bench& bench = Bench::Once();
  const DeployReport whole = Get(bench.Run({kInt8, kVerify}));
  const DeployReport half =
      Get(bench.Run({{"prune_channels",
                      {{"keep", 0.5}, {"steps", std::int64_t{2}}, {"finetune", std::int64_t{60}}}},
                     kInt8,
                     kVerify}));
  CHECK_MESSAGE(half.accepted, half.reason);
  CHECK(static_cast<double>(half.model.size()) < 0.3 * static_cast<double>(whole.model.size()));
  CHECK(
      half.lines[0].starts_with("prune_channels: 11978 of 46730 parameters, 88512 of 295808 MACs"));
  CHECK(half.measured.local_accuracy > whole.measured.local_accuracy - 0.02);
}

TEST_CASE("prune_channels: sixteen times smaller by channels and distillation loses little") {
  const DeployReport report = Get(Bench::Once().Run({{"prune_channels",
                                                      {{"keep", 0.23},
                                                       {"multiple", std::int64_t{1}},
                                                       {"steps", std::int64_t{3}},
                                                       {"finetune", std::int64_t{100}}}},
                                                     {"distil", {{"steps", std::int64_t{300}}}},
                                                     kVerify}));
  CHECK_MESSAGE(report.accepted, report.reason);
  const auto file = Get(nn::ParseModelFile(report.model));
  CHECK(16 * file.graph().parameters.total() < Bench::Once().teacher.size());
  CHECK(report.measured.local_accuracy > report.measured.teacher_accuracy - 0.02);
}

TEST_CASE("prune_channels: a budget out of reach refuses the model and says what was reached") {
  const DeployReport report = Get(Bench::Once().Run(
      {{"prune_channels", {{"parameters_max", std::int64_t{100}}}}, kInt8, kVerify}));
  CHECK(!report.accepted);
  CHECK(report.reason.starts_with("prune_channels: expected at most 100 parameters, reached "));
}

TEST_CASE("prune_weights: what was pruned is zero in the integer model, after more training") {
  const DeployReport report = Get(Bench::Once().Run(
      {{"prune_weights",
        {{"sparsity", 0.8}, {"steps", std::int64_t{3}}, {"finetune", std::int64_t{30}}}},
       {"fine_tune", {{"steps", std::int64_t{50}}, {"learning_rate", 0.01}}},
       kInt8,
       kVerify}));
  CHECK_MESSAGE(report.accepted, report.reason);
  const auto file = Get(nn::ParseModelFile(report.model));
  std::size_t zeros = 0;
  std::size_t weights = 0;
  for (const nn::QuantizedNode& node : std::get<nn::QuantizedModel>(file.model).nodes) {
    zeros += static_cast<std::size_t>(std::ranges::count(node.weight, 0));
    weights += node.weight.size();
  }
  CHECK(static_cast<double>(zeros) >= 0.79 * static_cast<double>(weights));
  CHECK(report.lines[0].find("80.0 % of") != std::string::npos);
  CHECK(report.lines[0].find("not faster") != std::string::npos);
}

TEST_CASE("prune_layers: every key is read, and what cannot go is said") {
  const Bench& bench = Bench::Once();
  const PassList list = Get(bench.Parse({{"prune_layers",
                                          {{"count", std::int64_t{2}},
                                           {"macs_share", 0.5},
                                           {"samples", std::int64_t{64}},
                                           {"layers", std::vector<std::string>{"add1"}},
                                           {"finetune", std::int64_t{20}}}}}));
  const auto& config = dynamic_cast<const PruneLayersPass&>(*list[0].pass).config();
  CHECK(config.prune.count == 2);
  CHECK(config.prune.budget.macs_share == 0.5);
  CHECK(config.prune.samples == 64);
  CHECK(config.prune.layers == std::vector<std::string>{"add1"});
  CHECK(config.finetune == 20);
  CHECK(!bench.Parse({{"prune_layers", {{"count", std::int64_t{0}}}}}));
  CHECK(!bench.Parse({{"prune_layers", {{"keep", 0.5}}}}));
  const auto report = bench.Run({{"prune_layers", {}}, kInt8, kVerify});
  REQUIRE(CodeOf(report) == ErrorCode::kInvalidArgument);
  CHECK(report.error().message.find("found none that can go") != std::string::npos);
}

TEST_CASE("prune_layers: a layer that keeps the shape goes, with training behind") {
  Bench bench;
  bench.graph = Digits::Build({"conv 8 5x5 stride=3", "relu", "extra: conv 8 3x3 same", "relu",
                               "flatten", "dense 32", "relu", "dense 10"});
  bench.teacher = nn::InitializeParameters(bench.graph, RngStream(3)).values;
  bench.digits.Train(bench.graph, {.steps = 300, .adjust = {}, .settle = {}}, bench.teacher);
  const DeployReport report =
      Get(bench.Run({{"prune_layers", {{"finetune", std::int64_t{100}}}}, kInt8, kVerify}));
  CHECK_MESSAGE((report.accepted || kSanitized), report.reason);
  CHECK(report.lines[0].find("without extra (extra, relu2); then 100 training steps") !=
        std::string::npos);
  CHECK(Get(nn::ParseModelFile(report.model)).graph().nodes.size() == bench.graph.nodes.size() - 2);
}

TEST_CASE("prune_channels: every key is read") {
  const PassList list = Get(Bench::Once().Parse({{"prune_channels",
                                                  {{"criterion", "taylor"},
                                                   {"gradient_batches", std::int64_t{7}},
                                                   {"scope", "global"},
                                                   {"granularity", "neuron"},
                                                   {"keep", 0.3},
                                                   {"macs_share", 0.4},
                                                   {"parameters_share", 0.6},
                                                   {"macs_max", std::int64_t{1000}},
                                                   {"parameters_max", std::int64_t{2000}},
                                                   {"layer_cap", 0.9},
                                                   {"multiple", std::int64_t{16}},
                                                   {"steps", std::int64_t{3}},
                                                   {"layers", std::vector<std::string>{"dense1"}},
                                                   {"absorb_bias", false},
                                                   {"finetune", std::int64_t{50}},
                                                   {"learning_rate", 0.03},
                                                   {"alpha", 0.5}}}}));
  const auto& config = dynamic_cast<const PruneChannelsPass&>(*list[0].pass).config();
  CHECK(config.prune.importance.criterion == Criterion::kTaylor);
  CHECK(config.prune.importance.batches == 7);
  CHECK(config.prune.global);
  CHECK(config.prune.granularity == ChannelGranularity::kNeurons);
  CHECK(config.prune.keep == 0.3);
  CHECK(config.prune.budget.macs_share == 0.4);
  CHECK(config.prune.budget.parameters_share == 0.6);
  CHECK(config.prune.budget.macs_max == 1000);
  CHECK(config.prune.budget.parameters_max == 2000);
  CHECK(config.prune.layer_cap == 0.9);
  CHECK(config.prune.multiple == 16);
  CHECK(config.prune.steps == 3);
  CHECK(config.prune.layers == std::vector<std::string>{"dense1"});
  CHECK(!config.prune.absorb);
  CHECK(config.finetune == 50);
  CHECK(config.training.steps == 50);
  CHECK(config.training.warmup == 5);
  CHECK(config.training.learning_rate == 0.03);
  CHECK(config.training.alpha == 0.5);
}

TEST_CASE("prune_weights: every key is read") {
  const auto parse = [](const char* pattern) {
    const PassList list = Get(Bench::Once().Parse({{"prune_weights",
                                                    {{"criterion", "snip"},
                                                     {"scope", "global"},
                                                     {"pattern", pattern},
                                                     {"sparsity", 0.7},
                                                     {"layer_cap", 0.9},
                                                     {"steps", std::int64_t{4}},
                                                     {"layers", std::vector<std::string>{"dense1"}},
                                                     {"finetune", std::int64_t{20}}}}}));
    return dynamic_cast<const PruneWeightsPass&>(*list[0].pass).config();
  };
  const PruneWeightsPassConfig config = parse("element");
  CHECK(config.prune.importance.criterion == Criterion::kSnip);
  CHECK(config.prune.global);
  CHECK(config.prune.pattern == SparsityPattern::kElement);
  CHECK(config.prune.sparsity == 0.7);
  CHECK(config.prune.layer_cap == 0.9);
  CHECK(config.prune.steps == 4);
  CHECK(config.prune.layers == std::vector<std::string>{"dense1"});
  CHECK(config.finetune == 20);
  CHECK(parse("block4").prune.pattern == SparsityPattern::kBlock);
  CHECK(parse("1:8").prune.pattern == SparsityPattern::kNOfM);
  CHECK(parse("1:8").prune.n == 1);
  CHECK(parse("1:8").prune.m == 8);
}

TEST_CASE("prune_channels, prune_weights: what makes no sense is refused where it stands") {
  const auto refusal = [](const std::string& pass, const Fields& fields) {
    const auto list = Bench::Once().Parse({{pass, fields}});
    return list ? std::string() : list.error().message;
  };
  CHECK(refusal("prune_channels", {{"keep", 0.0}}).starts_with("2:1: prune_channels.keep: "));
  CHECK(refusal("prune_channels", {{"keep", 1.1}}) != "");
  CHECK(refusal("prune_channels", {{"keep", 1.0}}) == "");
  CHECK(refusal("prune_channels", {{"multiple", std::int64_t{0}}}) != "");
  CHECK(refusal("prune_channels", {{"multiple", std::int64_t{65}}}) != "");
  CHECK(refusal("prune_channels", {{"steps", std::int64_t{0}}}) != "");
  CHECK(refusal("prune_channels", {{"layer_cap", 1.0}}) != "");
  CHECK(refusal("prune_channels", {{"criterion", "best"}}).find("geometric_median") !=
        std::string::npos);
  CHECK(refusal("prune_channels", {{"keeps", 0.5}}) != "");
  CHECK(refusal("prune_channels", {{"criterion", "own"}}).find("scores") != std::string::npos);
  CHECK(refusal("prune_channels", {{"scores", std::vector<std::string>{"conv1 1"}}})
            .find("\"own\"") != std::string::npos);
  CHECK(refusal("prune_channels",
                {{"criterion", "own"}, {"scores", std::vector<std::string>{"conv1 one"}}})
            .find("expected a number") != std::string::npos);
  CHECK(refusal("prune_weights", {{"pattern", "4:2"}}) != "");
  CHECK(refusal("prune_weights", {{"pattern", "2:17"}}) != "");
  CHECK(refusal("prune_weights", {{"pattern", "two"}}) != "");
  CHECK(refusal("prune_weights", {{"sparsity", 1.0}}) != "");
  CHECK(refusal("prune_weights", {{"criterion", "geometric_median"}}).find("for channels") !=
        std::string::npos);
}

TEST_CASE("prune_channels: scores from a file, but not for a device") {
  const fl::testing::TemporaryFolder folder;
  const std::string path = (folder.path() / "scores.txt").string();
  const std::string text = "conv1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
  REQUIRE(WriteFileAtomically(path, std::as_bytes(std::span(text))));
  const Passes passes = {
      {"prune_channels", {{"criterion", "own"}, {"scores_file", path}}}, kInt8, kVerify};
  const PassList list = Get(Bench::Once().Parse(passes));
  const auto& config = dynamic_cast<const PruneChannelsPass&>(*list[0].pass).config();
  CHECK(config.prune.importance.scores.at("conv1").size() == 16);
  const auto device = Bench::Once().Parse(passes, PassListUse::kDevice);
  REQUIRE(!device);
  CHECK(device.error().message.find("a device reads no files") != std::string::npos);
  CHECK(CodeOf(Bench::Once().Parse(
            {{"prune_channels", {{"criterion", "own"}, {"scores_file", path + "x"}}}})) ==
        ErrorCode::kNotFound);
}

TEST_CASE("prune_channels: an unknown layer is named with those that exist") {
  const auto report = Bench::Once().Run(
      {{"prune_channels", {{"layers", std::vector<std::string>{"conv9"}}}}, kInt8, kVerify});
  REQUIRE(CodeOf(report) == ErrorCode::kNotFound);
  CHECK(report.error().message.find("conv1, relu1, conv2") != std::string::npos);
}

}  // namespace
}  // namespace fl::deploy
