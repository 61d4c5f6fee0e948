#include "fl/compression/check_plan.h"

#include <doctest/doctest.h>

#include "fl/common/crypto/sha256.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

constexpr std::string_view kPlan = R"(name = "check"
seed = 3

[model]
input = [8, 8, 1]
layers = ["conv 4 3x3", "relu", "flatten", "dense 40", "relu", "dense 5"]

[rounds]
goal = 4
over_select = 1.5
population_min = 6

[privacy]
clip_norm = 1.0

[[compression.recipe]]
tensors = "*"
recipe = "low_rank 2 | quantize 4"

[[stream]]
name = "counts"
source = "label_counts"

[deployment]
version = 1

[[deployment.pass]]
pass = "ptq_static"

[[deployment.pass]]
pass = "verify"
)";

// The plan with one piece of its text replaced; the error's message, or none.
Result<std::shared_ptr<const CheckedPlan>> CheckWith(std::string_view piece,
                                                     std::string_view replacement) {
  std::string text(kPlan);
  const std::size_t at = text.find(piece);
  REQUIRE(at != std::string::npos);
  text.replace(at, piece.size(), replacement);
  return CheckPlan(testing::Get(ParsePlan(text, "p.toml")), "p.toml");
}

void CheckRefused(std::string_view piece, std::string_view replacement, ErrorCode code,
                  std::string_view start, std::string_view part) {
  CAPTURE(replacement);
  const auto checked = CheckWith(piece, replacement);
  REQUIRE_FALSE(checked.has_value());
  const std::string& message = checked.error().message;
  CHECK(checked.error().code == code);
  CHECK_MESSAGE(message.starts_with(start), message);
  CHECK_MESSAGE(message.find(part) != std::string::npos, message);
}

TEST_CASE("CheckPlan: a good plan yields model, streams, passes and digests") {
  const auto checked = testing::Get(CheckPlan(testing::Get(ParsePlan(kPlan, "p.toml")), "p.toml"));
  CHECK(checked->graph.output_shape() == Shape{5});
  CHECK(checked->delta.layout() == checked->graph.parameters);
  CHECK(checked->metrics.layout()[0] == TensorSpec{"metrics", {4}});
  CHECK(checked->metrics.lossless());
  REQUIRE(checked->streams.size() == 1);
  CHECK(checked->streams[0].layout()[0] == TensorSpec{"counts", {5}});
  CHECK(checked->passes.size() == 2);
  CHECK(checked->plan_digest == crypto::Sha256(AsBytes(kPlan)));
  CHECK(checked->recipe_digest == checked->delta.digest());
}

TEST_CASE("CheckPlan: each part that does not fit is refused with its place") {
  using enum ErrorCode;
  CheckRefused("\"dense 5\"", "\"dens 5\"", kInvalidArgument, "p.toml:6:", "dens");
  CheckRefused("population_min = 6", "population_min = 5", kInvalidArgument,
               "p.toml:11:1: rounds.population_min: ", "at least 6");
  CheckRefused("low_rank 2 |", "low_rank 99 |", kInvalidArgument,
               "p.toml:18:", "expected a rank of 1 to 64");
  CheckRefused("tensors = \"*\"", "tensors = \"lstm*\"", kInvalidArgument,
               "p.toml:17:", "matches no tensor");
  CheckRefused("\"label_counts\"", "\"label_counts\"\nrecipe = \"quantize 8 scale=shared\"",
               kUnsupported, "p.toml:", "scale=shared");
  CheckRefused("\"ptq_static\"", "\"shrink\"", kUnsupported,
               "p.toml:28:", "unknown pass \"shrink\"");
}

TEST_CASE("CheckPlan: devices calibrate together where ptq_static asks for it, and there alone") {
  CHECK_FALSE(testing::Get(CheckWith("seed = 3", "seed = 4"))->calibration.has_value());
  const auto asking =
      testing::Get(CheckWith("\"ptq_static\"", "\"ptq_static\"\nranges = \"federation\""));
  REQUIRE(asking->calibration.has_value());
  CHECK(asking->calibration->samples == 512);
  CHECK(asking->calibration->graph.nodes.size() == asking->graph.nodes.size());
  CheckRefused("version = 1", "version = 1\n[deployment.calibration]\ndevices = 7",
               ErrorCode::kInvalidArgument, "p.toml: ", "no pass asks for it");
}

TEST_CASE("CheckPlan: batch norms are not published on a lattice") {
  const std::string with_norm =
      R"(layers = ["conv 4 3x3", "batchnorm", "relu", "flatten", "dense 5"])"
      "\n[aggregation]\n"
      "publish = ";
  const std::string_view layers =
      R"(layers = ["conv 4 3x3", "relu", "flatten", "dense 40", "relu", "dense 5"])";
  CheckRefused(layers, with_norm + "\"lattice\"", ErrorCode::kInvalidArgument, "p.toml:8",
               "batchnorm1.variance");
}

TEST_CASE("CheckPlan: what the plan and the layers freeze is not sent") {
  const auto checked =
      testing::Get(CheckWith("\"dense 40\", \"relu\", \"dense 5\"]",
                             "\"dense 40 lora=2\", \"relu\", \"dense 5\"]\n[training]\nfreeze = "
                             "[\"conv*\", \"*2.bias\"]"));
  CHECK(checked->graph.frozen == std::vector<std::size_t>{0, 1, 2, 3, 7});
  CHECK(checked->delta.layout() == checked->graph.parameters);
  CHECK(checked->delta.covered() ==
        TensorLayout(
            {{"dense1.lora_b", {2, 40}}, {"dense1.bias", {40}}, {"dense2.weight", {40, 5}}}));
  CHECK(checked->passes.size() == 2);
}

TEST_CASE("CheckPlan: patterns that freeze nothing or everything are refused with their place") {
  const auto refuse = [](std::string_view patterns, std::string_view start, std::string_view part) {
    CheckRefused("[rounds]", "[training]\nfreeze = [" + std::string(patterns) + "]\n[rounds]",
                 ErrorCode::kInvalidArgument, start, part);
  };
  refuse("\"conv*\", \"lstm*\"", "p.toml:9:20: training.freeze: \"lstm*\" matches no tensor",
         "the model has conv1.weight, conv1.bias, dense1.weight");
  refuse("\"*\"", "p.toml:9:11: training.freeze: \"*\" leaves nothing to train", "at least one");
  refuse("\"conv*\", \"dense*\"", "p.toml:9:20: training.freeze: ", "leaves nothing to train");
}

TEST_CASE("CheckPlan: factors that do not fit are refused at their layer") {
  using enum ErrorCode;
  CheckRefused("\"dense 5\"", "\"dense 5 lora=6\"", kInvalidArgument,
               "p.toml:6:", "expected a rank of at most 5 for a weight of 40x5, found 6");
  CheckRefused("\"dense 5\"", "\"dense 5 fedpara=2 both\"", kInvalidArgument,
               "p.toml:6:", "expected nothing after fedpara=RANK, found \"both\"");
  CheckRefused("\"dense 5\"", "\"dense 5 lora=2 beta=3\"", kInvalidArgument,
               "p.toml:6:", "expected [alpha=N] [both] after lora=RANK, found \"beta=3\"");
}

// ParsePlan refuses these, too; a plan may also be made by a program.
TEST_CASE("CheckPlan: noise and secure aggregation are not available") {
  Plan noisy = testing::Get(ParsePlan(kPlan, "p.toml"));
  noisy.privacy.noise_multiplier = 0.5;
  const auto noise = CheckPlan(std::move(noisy), "p.toml");
  CHECK(testing::CodeOf(noise) == ErrorCode::kUnsupported);
  CHECK(noise.error().message.starts_with(
      "p.toml: privacy.noise_multiplier: noise is not available"));
}

// How a plan with secure aggregation and that recipe, for all tensors, is refused.
Error RefusedSum(const std::string& recipe) {
  Plan plan = testing::Get(ParsePlan(kPlan, "p.toml"));
  plan.privacy.secure_aggregation = true;
  plan.compression.residual = false;
  plan.compression.gather_below = 0;
  plan.compression.rules[0].recipe.text = recipe;
  const auto checked = CheckPlan(std::move(plan), "p.toml");
  REQUIRE_FALSE(checked.has_value());
  return checked.error();
}

TEST_CASE("CheckPlan: secure aggregation is refused by the stage that cannot be summed first") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"top_k 1% | quantize 8",
       "top_k is chosen by each client, so it cannot be summed under secure aggregation; use "
       "shared_mask"},
      {"threshold 2", "threshold is chosen by each client"},
      {"hadamard 64 | quantize 4", "a seed of its own"},
      {"hadamard 64 seed=shared | quantize 4", "quantize has a grid of each client's own"},
      {"sketch 1x1", "sketch sends the cells of a table"},
      {"quantize 4", "quantize has a grid of each client's own"},
      {"quantize 4 | rans", "rans spends bits by the levels"},
      {"quantize 2 | trits", "trits spends bits by the levels"},
      {"auto bytes=60KB", "auto chooses by each client's own values"},
      {"shared_mask 10% + fp16", "joined by +, is each client's own"},
      {"shared_mask 10%", "without a value stage values are raw"},
      {"announced 10% | fp16", "fp16 writes no levels of a grid that all clients share"},
      {"eden 1", "eden writes no levels"},
      {"raw", "raw writes no levels"}};
  for (const auto& [recipe, part] : cases) {
    CAPTURE(recipe);
    const Error error = RefusedSum(recipe);
    CHECK(error.code == ErrorCode::kInvalidArgument);
    CHECK(error.message.find("privacy.secure_aggregation: ") != std::string::npos);
    CHECK(error.message.find(part) != std::string::npos);
  }
  CHECK(testing::CodeOf(CheckWith("clip_norm = 1.0", "secure_aggregation = true")) ==
        ErrorCode::kInvalidArgument);
  CheckRefused("clip_norm = 1.0", "secure_aggregation = true", ErrorCode::kInvalidArgument,
               "p.toml:", "low_rank sends factors");
  CheckRefused(
      "clip_norm = 1.0\n\n[[compression.recipe]]\ntensors = \"*\"\nrecipe = \"low_rank 2 | "
      "quantize 4\"",
      "secure_aggregation = true\n\n[[compression.recipe]]\ntensors = \"*\"\n"
      "recipe = \"low_rank 2 basis=shared | quantize 4\"",
      ErrorCode::kInvalidArgument, "p.toml:", "low_rank basis=shared sends a factor");
}

TEST_CASE("CheckPlan: secure aggregation of recipes that sum is not available") {
  for (const char* recipe :
       {"quantize 8 scale=shared", "shared_mask 10% | quantize 8 scale=shared range=2",
        "announced 10% | quantize 8 scale=shared",
        "hadamard 64 seed=shared | quantize 6 scale=shared"}) {
    CAPTURE(recipe);
    const Error error = RefusedSum(recipe);
    CHECK(error.code == ErrorCode::kUnsupported);
    CHECK(error.message.find("not available in this version") != std::string::npos);
  }
}

TEST_CASE("CheckPlan: a residual of what can exceed an update is refused") {
  CheckRefused("low_rank 2 | quantize 4", "shared_mask 10% unbiased block=1",
               ErrorCode::kInvalidArgument, "p.toml", "a residual would grow");
  CHECK(CheckWith("[[compression.recipe]]\ntensors = \"*\"\nrecipe = \"low_rank 2 | quantize 4\"",
                  "[compression]\nresidual = false\n[[compression.recipe]]\ntensors = \"*\"\n"
                  "recipe = \"shared_mask 10% unbiased block=1\"")
            .has_value());
  CHECK(CheckWith("low_rank 2 | quantize 4", "shared_mask 60% unbiased block=1").has_value());
}

TEST_CASE("CheckPlan: what does not go with a sketch is refused") {
  const std::string rule = "[[compression.recipe]]\ntensors = \"*\"\nrecipe = \"sketch 1x4\"\n";
  const std::string fetched = "[aggregation]\nstrategy = \"fetch_sgd\"";
  const std::string sketched = "residual = false\n" + rule + fetched;
  const std::string recipe =
      "[[compression.recipe]]\ntensors = \"*\"\nrecipe = \"low_rank 2 | quantize 4\"";
  CHECK(CheckWith(recipe, "[compression]\n" + sketched).has_value());
  CheckRefused(recipe, rule + fetched, ErrorCode::kInvalidArgument, "p.toml",
               "is for clients that keep nothing");
  CheckRefused(recipe, "[compression]\nresidual = false\n" + rule, ErrorCode::kInvalidArgument,
               "p.toml", "expected \"fetch_sgd\"");
  CheckRefused(recipe, recipe + "\n" + fetched, ErrorCode::kInvalidArgument,
               "p.toml:20:1: aggregation.strategy: ", "fetch_sgd is for sketches");
  CheckRefused(recipe, "[compression]\nmomentum = 0.5\n" + sketched, ErrorCode::kInvalidArgument,
               "p.toml", "no momentum of clients");
  CheckRefused("clip_norm = 1.0\n\n" + recipe, "norm_bound = 5.0\n[compression]\n" + sketched,
               ErrorCode::kInvalidArgument, "p.toml", "does not tell one update's norm");
}

TEST_CASE("CheckPlan: what does not go with a width below 1 is refused") {
  using enum ErrorCode;
  const std::string narrow = "[training]\nwidth = 0.5\n";
  const auto narrowed = testing::Get(CheckWith("[rounds]\n", narrow + "[rounds]\n"));
  REQUIRE(narrowed->narrowing != nullptr);
  CHECK(narrowed->delta.EncodedBytesMax() <
        testing::Get(CheckWith("x", "x"))->delta.EncodedBytesMax());
  CHECK(narrowed->recipe_digest != testing::Get(CheckWith("x", "x"))->recipe_digest);
  CheckRefused("[rounds]\n", "[training]\nwidth = 0.5\nfreeze = [\"conv1.*\"]\n[rounds]\n",
               kInvalidArgument, "p.toml:9:1: training.width: ", "frozen");
  for (const char* recipe :
       {"auto bytes=4KB", "shared_mask 10%", "quantize 8 scale=shared range=2"}) {
    CAPTURE(recipe);
    const auto refused = CheckWith("low_rank 2 | quantize 4",
                                   std::string(recipe) + "\"\n[training]\nwidth = 0.5\n#");
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().message.find("training.width below 1") != std::string::npos);
  }
  CheckRefused("[rounds]\n", narrow + "[compression]\nmomentum = 0.5\n[rounds]\n", kInvalidArgument,
               "p.toml", "trains nothing");
}

TEST_CASE("CheckPlan: more clients in a round than the server has slots for are refused") {
  CheckRefused("goal = 4\nover_select = 1.5\npopulation_min = 6",
               "goal = 1000000\nover_select = 1.5\npopulation_min = 1000000",
               ErrorCode::kInvalidArgument, "p.toml:9:1: rounds.goal: ", "at most 1000000");
}

// A basis of that rank for 64 x 8000 weights.
Result<std::shared_ptr<const CheckedPlan>> CheckBasis(const std::string& rank) {
  Plan plan = testing::Get(ParsePlan(kPlan, "p.toml"));
  plan.model.layers = {{"flatten", {}}, {"dense 8000", {}}};
  plan.compression.rules[0] = {{"*.weight", {}}, {"low_rank " + rank + " basis=shared", {}}};
  return CheckPlan(std::move(plan), "p.toml");
}

TEST_CASE("CheckPlan: what a round's clients share fits one answer") {
  CHECK(CheckBasis("32").has_value());
  const auto refused = CheckBasis("33");
  CHECK(testing::CodeOf(refused) == ErrorCode::kInvalidArgument);
  CHECK(refused.error().message.find("takes 1056009 bytes; expected at most 1048576") !=
        std::string::npos);
}

TEST_CASE("CheckPlan: momentum needs a residual and a recipe that leaves something out") {
  const std::string_view recipes = "[[compression.recipe]]\ntensors = \"*\"";
  const auto with = [&](const std::string& keys) {
    return "[compression]\n" + keys + "\n" + std::string(recipes);
  };
  CHECK(CheckWith(recipes, with("momentum = 0.9")).has_value());
  CHECK(CheckWith(recipes, with("momentum = 0.0\nresidual = false")).has_value());
  CheckRefused(recipes, with("momentum = 0.9\nresidual = false"), ErrorCode::kInvalidArgument,
               "p.toml:17:1: compression.momentum", "residual = true");
  CheckRefused(std::string(recipes) + "\nrecipe = \"low_rank 2 | quantize 4\"",
               with("momentum = 0.9") + "\nrecipe = \"raw\"", ErrorCode::kInvalidArgument,
               "p.toml:17:1: compression.momentum", "leave nothing out");
}

TEST_CASE("CheckPlan: a budget of auto has room for all else, and is for model updates") {
  const std::string recipe = "recipe = \"low_rank 2 | quantize 4\"";
  CHECK(CheckWith(recipe, "recipe = \"auto bytes=1KB\"").has_value());
  CheckRefused(recipe, "recipe = \"auto bytes=100\"", ErrorCode::kInvalidArgument,
               "p.toml: compression.recipe: auto: ", "expected a budget of at least");
  CheckRefused("source = \"label_counts\"",
               "source = \"label_counts\"\nrecipe = \"auto bytes=1KB\"",
               ErrorCode::kInvalidArgument, "p.toml:", "auto is for model updates only");
}

}  // namespace
}  // namespace fl
