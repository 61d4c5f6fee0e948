#include "fl/compression/deploy/passes/low_rank.h"

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "fl/compression/deploy/pass_list.h"
#include "fl/compression/deploy/passes/fine_tune.h"
#include "fl/tests/compression/deploy/trained_digits.h"

namespace fl::deploy {
namespace {

using testing::CodeOf;
using testing::Get;
using testing::TrainedDigits;
using Settings = std::vector<std::pair<std::string, PassConfig::Value>>;

PassConfig PassOf(const Settings& settings) {
  PassConfig pass{{"low_rank", {3, 8}}, {}};
  for (const auto& [key, value] : settings) pass.fields.push_back({key, value, {4, 1}});
  return pass;
}

Result<std::shared_ptr<const Pass>> Read(const Settings& settings) {
  const PassConfig pass = PassOf(settings);
  const nn::Graph& teacher = testing::Perceptron().graph;
  Fields fields(pass, teacher);
  return ReadLowRank(fields);
}

std::string Refusal(const Settings& settings) {
  const auto pass = Read(settings);
  return pass ? std::string() : pass.error().message;
}

// Runs passes on a trained network.
struct Bench {
  explicit Bench(const TrainedDigits& trained)
      : digits(trained), model{.graph = trained.graph, .parameters = trained.parameters} {}

  Result<PassReport> Run(const Pass& pass) {
    PassReport report;
    FL_TRY_OK(pass.Run({.teacher = {digits.graph, digits.parameters},
                        .training = digits.training,
                        .calibration = none,
                        .verification = digits.unseen,
                        .gate = {},
                        .rng = RngStream(3),
                        .stop = stop,
                        .normalization = "unit",
                        .labels = {},
                        .notes = {}},
                       model, report));
    return report;
  }
  double AccuracyNow() const { return digits.AccuracyOf(model.graph, model.parameters); }

  const TrainedDigits& digits;
  data::Subset none{digits.training.shared_dataset(), {}};
  std::atomic<bool> stop = false;
  WorkingModel model;
};

FineTunePass Training(std::uint32_t epochs) {
  FineTunePassConfig config;
  config.training.epochs = epochs;
  config.training.learning_rate = 0.02;
  return FineTunePass(config);
}

TEST_CASE("low_rank: every key is read") {
  const auto pass = Get(Read({{"method", std::string("tucker")},
                              {"layers", std::vector<std::string>{"dense1"}},
                              {"rank", std::string("budget")},
                              {"budget", 0.25},
                              {"measure", std::string("macs")},
                              {"weighted", false},
                              {"start", std::string("random")},
                              {"samples", std::int64_t{100}}}));
  CHECK(pass->name() == "low_rank");
  CHECK(pass->stage() == PassStage::kLowRank);
  const LowRankConfig& config = dynamic_cast<const LowRankPass&>(*pass).config();
  CHECK(config.method == LowRankMethod::kTucker);
  CHECK(config.layers == std::vector<std::string>{"dense1"});
  CHECK(config.rule == RankRule::kBudget);
  CHECK(config.budget == 0.25);
  CHECK(config.measure == LowRankMeasure::kMacs);
  CHECK_FALSE(config.weighted);
  CHECK(config.random_start);
}

TEST_CASE("low_rank: each way to say a rank") {
  const auto config = [](const PassConfig::Value& rank) {
    return dynamic_cast<const LowRankPass&>(*Get(Read({{"rank", rank}}))).config();
  };
  CHECK(config(std::int64_t{12}).rule == RankRule::kFixed);
  CHECK(config(std::int64_t{12}).rank == 12);
  CHECK(config(std::string("energy:0.75")).rule == RankRule::kEnergy);
  CHECK(config(std::string("energy:0.75")).energy == 0.75);
  CHECK(config(std::string("vbmf")).rule == RankRule::kVariational);
}

TEST_CASE("low_rank: settings that cannot be are refused, with their place") {
  CHECK(Refusal({{"rank", std::string("many")}}) ==
        "4:1: low_rank.rank: expected a number, \"energy:0.9\", \"vbmf\" or \"budget\", found "
        "\"many\"");
  CHECK(Refusal({{"rank", std::string("energy:x")}}) ==
        "4:1: low_rank.rank: expected a share behind energy:, found energy:x");
  CHECK(Refusal({{"rank", std::string("energy:1.5")}}) ==
        "4:1: low_rank: energy: expected a share in (0, 1], found 1.5");
  CHECK(Refusal({{"rank", std::int64_t{0}}}) ==
        "4:1: low_rank: rank: expected at least 1, found 0");
  CHECK(Refusal({{"rank", 1.5}}) == "4:1: low_rank.rank: expected a text or a whole number");
  CHECK(Refusal({{"budget", std::int64_t{1}}}) ==
        "4:1: low_rank: budget: expected a share in (0, 1), found 1");
  CHECK(Refusal({{"method", std::string("qr")}}).find("low_rank.method: expected") !=
        std::string::npos);
  CHECK_FALSE(Refusal({{"ranks", std::int64_t{3}}}).empty());
}

TEST_CASE("low_rank: training after it wins back what was lost") {
  Bench bench(testing::Perceptron());
  const double whole = bench.AccuracyNow();
  const auto pass = Get(Read({{"budget", 0.3}}));
  const PassReport report = Get(bench.Run(*pass));
  CHECK(report.summary.find("dense1 rank") == 0);
  CHECK(bench.model.parameters.size() < bench.digits.parameters.size() / 3);
  const double before = bench.AccuracyNow();
  Get(bench.Run(Training(2)));
  CHECK(bench.AccuracyNow() > before);
  CHECK(bench.AccuracyNow() > whole - 0.02);
}

TEST_CASE("low_rank: factors from a random start are trained from nothing") {
  Bench bench(testing::Perceptron());
  Get(bench.Run(*Get(Read({{"rank", std::int64_t{16}}, {"start", std::string("random")}}))));
  CHECK(bench.AccuracyNow() < 0.5);
  Get(bench.Run(Training(4)));
  CHECK(bench.AccuracyNow() > 0.8);
}

TEST_CASE("low_rank: forgets what was decided for layers that are no more, and keeps the rest") {
  Bench bench(testing::Perceptron());
  bench.model.masks["dense1.weight"] = std::vector<std::uint8_t>(196 * 48, 1);
  bench.model.masks["dense2.weight"] = std::vector<std::uint8_t>(48 * 32, 1);
  bench.model.precision["dense1"] = {};
  bench.model.precision["dense2"] = {};
  bench.model.ranges["dense1"] = {};
  Get(bench.Run(
      *Get(Read({{"layers", std::vector<std::string>{"dense1"}}, {"rank", std::int64_t{8}}}))));
  CHECK(bench.model.graph.nodes[3].name == "dense1_a");
  CHECK(bench.model.masks.size() == 1);
  CHECK(bench.model.masks.contains("dense2.weight"));
  CHECK(bench.model.precision.size() == 1);
  CHECK(bench.model.ranges.empty());
}

TEST_CASE("low_rank: errors begin with its name") {
  Bench bench(testing::Perceptron());
  const auto result = bench.Run(*Get(Read({{"layers", std::vector<std::string>{"conv9"}}})));
  REQUIRE_FALSE(result);
  CHECK(result.error().message.starts_with("low_rank: "));
  const auto tight = bench.Run(*Get(Read({{"budget", 0.001}})));
  REQUIRE_FALSE(tight);
  CHECK(tight.error().message.find("cannot be reached") != std::string::npos);
}

}  // namespace
}  // namespace fl::deploy
