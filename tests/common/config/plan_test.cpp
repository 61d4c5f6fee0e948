#include "fl/common/config/plan.h"

#include <string>

#include <doctest/doctest.h>

#include "fl/tests/support/result.h"

namespace fl {
namespace {

using testing::CodeOf;
using testing::Get;

constexpr std::string_view kPlan = R"(name = "digits"
seed = 7

[model]
input = [28, 28, 1]
layers = ["flatten", "dense 10"]

[training]
learning_rate = 0.2

[rounds]
goal = 10

[[compression.recipe]]
tensors = "dense*.weight"
recipe = "low_rank 2 | quantize 4"

[[stream]]
name = "labels"
source = "label_counts"

[deployment]
version = 1
[[deployment.pass]]
pass = "distil"
layers = ["flatten", "dense 10"]
epochs = 3
)";

// The plan with one more line under its first table.
std::string With(std::string_view line) {
  return std::string(line) + "\n" + std::string(kPlan);
}

std::string Replaced(std::string_view from, std::string_view to) {
  std::string text(kPlan);
  text.replace(text.find(from), from.size(), to);
  return text;
}

std::string MessageOf(std::string_view text) {
  const auto plan = ParsePlan(text, "plan.toml");
  return plan ? "" : plan.error().message;
}

TEST_CASE("Plan: values are read and the rest keeps its default") {
  const Plan plan = Get(ParsePlan(kPlan, "plan.toml"));
  CHECK(plan.name == "digits");
  CHECK(plan.seed == 7);
  CHECK(plan.model.input == std::vector<std::size_t>{28, 28, 1});
  CHECK(plan.model.layers[1] == LocatedText{"dense 10", {6, 22}});
  CHECK(plan.training.learning_rate == 0.2);
  CHECK(plan.training.batch_size == 10);
  CHECK(plan.rounds.goal == 10);
  CHECK(plan.compression.rules[0].recipe.text == "low_rank 2 | quantize 4");
  CHECK(plan.streams[0].combiner == "sum");
  CHECK(plan.deployment.passes[0].name.text == "distil");
  CHECK(plan.deployment.passes[0].fields[1].key == "epochs");
  CHECK(std::get<std::int64_t>(plan.deployment.passes[0].fields[1].value) == 3);
  CHECK(plan.source == kPlan);
}

TEST_CASE("Plan: an error says the file and the line and the column") {
  CHECK(MessageOf(With("colour = 3")) ==
        "plan.toml:1:1: unknown key 'colour'; known here: aggregation, compression, data, "
        "deployment, evaluation, model, name, "
        "privacy, rounds, seed, simulation, stream, training");
  CHECK(MessageOf(Replaced("goal = 10", "goal = 0")) ==
        "plan.toml:12:8: rounds.goal: expected a whole number in [1, 1000000], found 0");
  CHECK(
      MessageOf(Replaced("goal = 10", "goal = \"ten\"")) ==
      "plan.toml:12:8: rounds.goal: expected a whole number in [1, 1000000], found the text 'ten'");
  CHECK(MessageOf(Replaced("goal = 10", "goals = 10"))
            .starts_with("plan.toml:12:1: unknown key 'rounds.goals'"));
}

TEST_CASE("Plan: what is not TOML is malformed") {
  CHECK(CodeOf(ParsePlan("name = ", "plan.toml")) == ErrorCode::kMalformed);
  CHECK(MessageOf("name = ").starts_with("plan.toml:1:"));
}

TEST_CASE("Plan: ranges hold at their edge") {
  CHECK(MessageOf(Replaced("learning_rate = 0.2", "learning_rate = 0.0"))
            .find("training.learning_rate") != std::string::npos);
  CHECK(MessageOf(Replaced("learning_rate = 0.2", "momentum = 1.0")).find("training.momentum") !=
        std::string::npos);
  CHECK(MessageOf(Replaced("learning_rate = 0.2", "momentum = 0.99")).empty());
  CHECK(MessageOf(Replaced("learning_rate = 0.2", "width = 1.5"))
            .find("training.width: expected a number in (0, 1]") != std::string::npos);
  CHECK(MessageOf(Replaced("learning_rate = 0.2", "learning_rate = nan")).find("a number") !=
        std::string::npos);
}

TEST_CASE("Plan: values that contradict each other are refused") {
  CHECK(MessageOf(Replaced("goal = 10", "goal = 2\nmin_report = 3")).find("rounds.min_report") !=
        std::string::npos);
  CHECK(
      MessageOf(Replaced("goal = 10", "phases = [\"collect\", \"hello\"]")).find("rounds.phases") !=
      std::string::npos);
  CHECK(MessageOf(Replaced("name = \"labels\"", "name = \"delta\"")).find("the name is taken") !=
        std::string::npos);
  CHECK(MessageOf(Replaced("version = 1", "version = 1\ndrift_max = -1"))
            .find("deployment.drift_max") != std::string::npos);
  CHECK(MessageOf(Replaced("version = 1", "version = 1\nmade_below = -1"))
            .find("deployment.made_below") != std::string::npos);
  CHECK(
      MessageOf(Replaced("version = 1", "version = 1\n[deployment.personalize]\nlearning_rate = 0"))
          .find("deployment.personalize.learning_rate") != std::string::npos);
  const auto with_calibration = [](const std::string& keys) {
    return MessageOf(Replaced("version = 1", "version = 1\n[deployment.calibration]\n" + keys));
  };
  CHECK(with_calibration("devices = 2\ndevices_min = 2\nreach_max = 0.0").empty());
  CHECK(
      with_calibration("devices = 2\ndevices_min = 3").find("deployment.calibration.devices_min") !=
      std::string::npos);
  CHECK(with_calibration("devices_min = 0").find("deployment.calibration.devices_min") !=
        std::string::npos);
  CHECK(with_calibration("devices = 1000001").find("deployment.calibration.devices: ") !=
        std::string::npos);
  CHECK(with_calibration("reach_max = -1").find("deployment.calibration.reach_max") !=
        std::string::npos);
  CHECK(MessageOf(Replaced("version = 1", "version = 2")).find("deployment.version") !=
        std::string::npos);
  CHECK(MessageOf(Replaced("name = \"digits\"", "name = \"Digits!\"")).find("a-z") !=
        std::string::npos);
}

TEST_CASE("Plan: a lattice's step is a number or left to the server, which bytes may bound") {
  const std::string plan = std::string(kPlan) + "[aggregation]\npublish = \"lattice\"\n";
  const auto aggregation = [&](const std::string& keys) {
    return Get(ParsePlan(plan + keys, "plan.toml")).aggregation;
  };
  CHECK(aggregation("").lattice_step == 0.0625);
  CHECK(aggregation("lattice_step = 0.5\n").lattice_step == 0.5);
  CHECK_FALSE(aggregation("lattice_step = \"auto\"\n").lattice_step.has_value());
  const std::string chosen = "lattice_step = \"auto\"\ndownlink_bytes = ";
  CHECK(aggregation(chosen + "8000\n").downlink_bytes == 8000);
  CHECK(aggregation(chosen + "\"8KB\"\n").downlink_bytes == 8000);
  CHECK(aggregation(chosen + "\"2MB\"\n").downlink_bytes == 2'000'000);
  CHECK(aggregation(chosen + "\"900B\"\n").downlink_bytes == 900);
  CHECK(aggregation(chosen + "\"1GB\"\n").downlink_bytes == 1'000'000'000);
  for (const char* wrong : {"0", "\"0KB\"", "\"8XB\"", "\"8 KB\"", "\"-8KB\"", "\"KB\"", "true",
                            "1.5", "\"2000000000000B\"", "\"99999999999999999999B\""}) {
    CAPTURE(wrong);
    CHECK(MessageOf(plan + chosen + wrong + "\n").find("downlink_bytes") != std::string::npos);
  }
  CHECK(MessageOf(plan + "lattice_step = \"some\"\n").find(" or \"auto\", found the text 'some'") !=
        std::string::npos);
  CHECK(MessageOf(plan + "lattice_step = 5\n").find("lattice_step") != std::string::npos);
  CHECK(MessageOf(plan + "downlink_bytes = 8000\n").find("lattice_step = \"auto\"") !=
        std::string::npos);
}

TEST_CASE("Plan: noise is refused as not available") {
  CHECK(MessageOf(std::string(kPlan) + "[privacy]\nnoise_multiplier = 1.0\n")
            .find("not available in this version") != std::string::npos);
}

TEST_CASE("Plan: target_max goes with a regression") {
  const std::string model = "name = \"x\"\n[model]\ninput = [2]\nlayers = [\"dense 1\"]\nloss = ";
  const Plan plan =
      Get(ParsePlan(model + "\"mean_squared_error\"\n[data]\ntarget_max = 125\n", "p.toml"));
  CHECK(plan.data.target_max == 125.0);
  CHECK(MessageOf(model + "\"softmax_cross_entropy\"\n[data]\ntarget_max = 125\n")
            .find("data.target_max: goes with loss = \"mean_squared_error\"") != std::string::npos);
}

TEST_CASE("Plan: a missing model is named") {
  CHECK(MessageOf("name = \"x\"\n").find("model.layers: missing") != std::string::npos);
}

TEST_CASE("Plan: a file that is not there is not found") {
  CHECK(CodeOf(LoadPlan("/nonexistent/plan.toml")) == ErrorCode::kNotFound);
}

TEST_CASE("OverridePlan: settings replace and add values") {
  const std::string text = Get(OverridePlan(
      kPlan, {"rounds.goal=3", "privacy.clip_norm=1.5", "name=other", "model.input=[4]"}));
  const Plan plan = Get(ParsePlan(text, "plan.toml"));
  CHECK(plan.rounds.goal == 3);
  CHECK(plan.privacy.clip_norm == 1.5);
  CHECK(plan.name == "other");
  CHECK(plan.model.input == std::vector<std::size_t>{4});
  CHECK(plan.compression.rules.size() == 1);
}

TEST_CASE("OverridePlan: no settings leave the text as it is") {
  CHECK(Get(OverridePlan(kPlan, {})) == kPlan);
}

TEST_CASE("OverridePlan: a setting that cannot be meant is refused") {
  CHECK(CodeOf(OverridePlan(kPlan, {"goal"})) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(OverridePlan(kPlan, {"name.x=1"})) == ErrorCode::kInvalidArgument);
  CHECK(CodeOf(OverridePlan(kPlan, {"=1"})) == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fl
