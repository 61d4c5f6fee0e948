#include "fl/compression/deploy/search/auto_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <doctest/doctest.h>

#include "fl/common/config/pass_file.h"
#include "fl/common/nn/model_file.h"
#include "fl/compression/deploy/run_passes.h"
#include "fl/tests/compression/deploy/digits.h"
#include "fl/tests/support/keep_trained.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Digits;

HardwareProfile MakeProfile() {
  HardwareProfile profile;
  profile.channel_multiple = 4;
  profile.fp32_gflops = 10;
  profile.int8_gops = 20;
  profile.memory_gbps = 5;
  profile.operators = {{"relu", {4096}, 2048, 1, 1}};
  return profile;
}

// A small network that knows digits, and parts of them that it has not seen.
struct Bench {
  Bench() {
    teacher = fl::testing::KeepTrained("auto_search", {}, [this] {
      std::vector<float> learned = nn::InitializeParameters(graph, RngStream(3)).values;
      digits.Train(graph, {.steps = 400, .weight_decay = 0.001, .adjust = {}, .settle = {}},
                   learned);
      return learned;
    });
    std::vector<std::uint32_t> half(digits.test.count() / 2);
    std::iota(half.begin(), half.end(), 0U);
    choosing = data::Subset(digits.test.shared_dataset(), half);
    for (std::uint32_t& index : half) index += static_cast<std::uint32_t>(half.size());
    verification = data::Subset(digits.test.shared_dataset(), half);
  }
  static const Bench& Once() {
    static const Bench bench;
    return bench;
  }
  PassInputs Inputs(const HardwareProfile* device, const std::atomic<bool>& stop,
                    const Instruments* instruments = nullptr) const {
    return {.teacher = {graph, teacher},
            .training = digits.training,
            .calibration = calibration,
            .verification = verification,
            .gate = {},
            .rng = RngStream(5),
            .stop = stop,
            .normalization = "unit",
            .labels = {},
            .notes = {{"from", "a test"}},
            .instruments = instruments,
            .profile = device};
  }
  Result<SearchOutcome> Run(const SearchConfig& config) const {
    return AutoSearch(config, Inputs(&profile, run), choosing);
  }

  Digits digits;
  HardwareProfile profile = MakeProfile();
  nn::Graph graph = Digits::Build({"maxpool 2", "conv 8 3x3 same", "relu", "maxpool 2", "flatten",
                                   "dense 32", "relu", "dense 10"});
  std::vector<float> teacher;
  data::Subset calibration{digits.training.shared_dataset(), {}};
  data::Subset choosing = digits.test;
  data::Subset verification = digits.test;
  std::atomic<bool> run = false;
};

SearchConfig Quick() {
  SearchConfig config;
  config.budget = {3, 9000, 0};
  config.seconds = 0.375;
  config.candidates = 8;
  config.rungs = 3;
  return config;
}

const SearchOutcome& QuickOutcome() {
  static const SearchOutcome outcome = Get(Bench::Once().Run(Quick()));
  return outcome;
}

TEST_CASE("AutoSearch: a model within the budget, much smaller than rounding alone makes it") {
  const SearchOutcome& outcome = QuickOutcome();
  REQUIRE_MESSAGE(outcome.chosen.has_value(), outcome.unreached);
  const Trial& chosen = outcome.trials[*outcome.chosen];
  CHECK(chosen.finalist);
  CHECK(chosen.result.bytes <= 9000);
  CHECK(chosen.result.bytes == outcome.model.size());
  CHECK(chosen.result.accuracy >= outcome.teacher.accuracy - 0.03);
  CHECK(outcome.teacher.bytes > 6 * chosen.result.bytes);
  CHECK(outcome.curves.size() == 2);
  CHECK(outcome.curves[0].divergence.back() > 0);
  CHECK_FALSE(outcome.cut_short);
  // No finalist that keeps the budget dominates more of what it allows, none at all dominates it.
  const Objectives corner = CornerOf(Quick().budget, outcome.teacher);
  const double volume = DominatedVolume(std::span(&chosen.result, 1), corner);
  for (const Trial& trial : outcome.trials) {
    CHECK(trial.within == WhyNot(trial, {.budget = Quick().budget}).empty());
    if (trial.finalist && trial.within)
      CHECK(DominatedVolume(std::span(&trial.result, 1), corner) <= volume);
    if (trial.finalist) CHECK_FALSE(Dominates(trial.result, chosen.result));
  }
}

TEST_CASE("AutoSearch: the smallest that keeps the budget, where bytes are preferred") {
  SearchConfig config = Quick();
  config.prefer = Preference::kBytes;
  const SearchOutcome outcome = Get(Bench::Once().Run(config));
  REQUIRE(outcome.chosen.has_value());
  const Trial& chosen = outcome.trials[*outcome.chosen];
  CHECK(chosen.within);
  for (const Trial& trial : outcome.trials) {
    if (trial.finalist && trial.within) CHECK(trial.result.bytes >= chosen.result.bytes);
  }
  CHECK(chosen.bits < kBitsMost);
  const PassList passes = Get(ParsePassList(chosen.list, Bench::Once().graph));
  const Bench& bench = Bench::Once();
  CHECK(Get(RunPasses(passes, bench.Inputs(nullptr, bench.run))).model == outcome.model);
}

TEST_CASE("AutoSearch: finalists stand there with fewer bits, too, and then in fewer bytes") {
  const SearchOutcome& outcome = QuickOutcome();
  std::size_t fewer = 0;
  for (std::size_t i = 0; i < outcome.trials.size(); ++i) {
    const Trial& trial = outcome.trials[i];
    if (trial.bits == kBitsMost) continue;
    ++fewer;
    CHECK(trial.finalist);
    CHECK(trial.steps == outcome.trials[i - 1].steps);
    CHECK(trial.result.bytes < outcome.trials[i - 1].result.bytes);
    CHECK(trial.name.find(std::to_string(trial.bits) + " bits") != std::string::npos);
  }
  CHECK(fewer >= 2 * 6);
}

TEST_CASE("AutoSearch: the pass list alone makes the same file, also after a file's text") {
  const Bench& bench = Bench::Once();
  const SearchOutcome& outcome = QuickOutcome();
  REQUIRE(outcome.chosen.has_value());
  const std::string text = PassFileToToml(outcome.trials[*outcome.chosen].list);
  const DeploymentConfig list = Get(ParsePassFile(text, "found"));
  const PassList passes = Get(ParsePassList(list, bench.graph));
  const auto alone = Get(RunPasses(passes, bench.Inputs(nullptr, bench.run)));
  CHECK(alone.model == outcome.model);
  CHECK(Get(nn::ParseModelFile(alone.model)).notes.at("from") == "a test");
}

TEST_CASE("AutoSearch: same inputs, same outcome") {
  const SearchOutcome& outcome = QuickOutcome();
  const SearchOutcome again = Get(Bench::Once().Run(Quick()));
  CHECK(again.model == outcome.model);
  REQUIRE(again.trials.size() == outcome.trials.size());
  for (std::size_t i = 0; i < again.trials.size(); ++i) {
    CHECK(again.trials[i].name == outcome.trials[i].name);
    CHECK(again.trials[i].result == outcome.trials[i].result);
  }
}

TEST_CASE("AutoSearch: each rung trains fewer lists for twice as long, from where they were") {
  const SearchOutcome& outcome = QuickOutcome();
  std::vector<std::size_t> count(4, 0);
  for (const Trial& trial : outcome.trials) {
    if (trial.bits < kBitsMost) continue;
    ++count[trial.steps.size()];
    const bool student = trial.kind == "student";
    for (std::size_t i = 1; i < trial.steps.size(); ++i) {
      const std::uint32_t before = i == 1 && student ? trial.steps[0] / 2 : trial.steps[i - 1];
      CHECK(trial.steps[i] == 2 * before);
    }
  }
  CHECK(count[3] == 6);
  CHECK(count[1] == 2);
  const Trial& chosen = outcome.trials[*outcome.chosen];
  CHECK(outcome.steps == std::accumulate(chosen.steps.begin(), chosen.steps.end(), 0U));
}

TEST_CASE("AutoSearch: a device's channel multiple and types are obeyed") {
  const Bench& bench = Bench::Once();
  HardwareProfile device = MakeProfile();
  device.channel_multiple = 8;
  device.types = {"fp32"};
  SearchConfig config = Quick();
  config.budget = {5, 40000, 0};
  const auto outcome = Get(AutoSearch(config, bench.Inputs(&device, bench.run), bench.choosing));
  REQUIRE_MESSAGE(outcome.chosen.has_value(), outcome.unreached);
  const auto file = Get(nn::ParseModelFile(outcome.model));
  CHECK(std::holds_alternative<nn::FloatModel>(file.model));
  for (const Trial& trial : outcome.trials) {
    for (const PassConfig& pass : trial.list.passes) {
      CHECK(pass.name.text != "ptq_static");
      if (pass.name.text != "prune_channels") continue;
      const auto field = std::ranges::find(pass.fields, "multiple", &PassConfig::Field::key);
      REQUIRE(field != pass.fields.end());
      CHECK(std::get<std::int64_t>(field->value) == 8);
    }
  }
}

TEST_CASE("AutoSearch: an unreachable budget says what was reached and names the nearest") {
  SearchConfig config = Quick();
  config.budget = {0.5, 100, 0};
  const auto small = Get(Bench::Once().Run(config));
  CHECK_FALSE(small.chosen.has_value());
  CHECK(small.model.empty());
  CHECK(small.unreached.find("at most 100 are allowed") != std::string::npos);
  CHECK(small.unreached.find("no list is within the budget") != std::string::npos);
  // Small enough, but never as accurate.
  config.budget = {0, 2500, 0};
  const auto worse = Get(Bench::Once().Run(config));
  CHECK_FALSE(worse.chosen.has_value());
  CHECK(worse.unreached.find("points below the global model") != std::string::npos);
  CHECK_FALSE(worse.trials.empty());
}

// Stops the search when the first rung is over.
std::atomic<bool> stop_after_rung{false};

TEST_CASE("AutoSearch: when stopped it ends with the best so far") {
  const Bench& bench = Bench::Once();
  const Instruments instruments{.progress = [](std::string_view line) {
    if (line.starts_with("rung 1")) stop_after_rung = true;
  }};
  const auto outcome = Get(AutoSearch(
      Quick(), bench.Inputs(&bench.profile, stop_after_rung, &instruments), bench.choosing));
  CHECK(outcome.cut_short);
  CHECK_FALSE(outcome.trials.empty());
  for (const Trial& trial : outcome.trials) CHECK(trial.steps.size() <= 1);
  const std::atomic<bool> at_once = true;
  CHECK(CodeOf(AutoSearch(Quick(), bench.Inputs(&bench.profile, at_once), bench.choosing)) ==
        ErrorCode::kUnavailable);
}

TEST_CASE("AutoSearch: dominance tries lists that are small for what is drawn") {
  SearchConfig config = Quick();
  config.prefer = Preference::kDominance;
  const auto outcome = Get(Bench::Once().Run(config));
  REQUIRE(outcome.chosen.has_value());
  const Trial& chosen = outcome.trials[*outcome.chosen];
  CHECK(chosen.within);
  const auto largest = [](const SearchOutcome& of) {
    std::uint64_t bytes = 0;
    for (const Trial& trial : of.trials) {
      if (!trial.steps.empty()) bytes = std::max(bytes, trial.result.bytes);
    }
    return bytes;
  };
  CHECK(largest(outcome) < largest(QuickOutcome()));
  for (const Trial& trial : outcome.trials) {
    if (trial.finalist && trial.within) CHECK_FALSE(Dominates(trial.result, chosen.result));
  }
}

TEST_CASE("AutoSearch: random lists keep the bytes and are trained as the chosen one") {
  SearchConfig config = Quick();
  config.random = 3;
  const auto outcome = Get(Bench::Once().Run(config));
  REQUIRE(outcome.chosen.has_value());
  std::vector<std::string> names;
  const std::vector<std::uint8_t> bits = {8, 6, 4, 3};
  for (const Trial& trial : outcome.trials) {
    if (trial.kind != "random") continue;
    CHECK(std::ranges::find(names, trial.name) == names.end());
    names.push_back(trial.name);
    CHECK_FALSE(trial.finalist);
    CHECK_FALSE(trial.on_front);
    CHECK(trial.result.bytes <= config.budget.bytes_max);
    CHECK(std::ranges::find(bits, trial.bits) != bits.end());
    CHECK(trial.steps == outcome.trials[*outcome.chosen].steps);
  }
  CHECK(names.size() == 3);
  CHECK(outcome.model == QuickOutcome().model);
}

// A clock that is a tenth of a second further with each look.
std::int64_t slow_clock = 0;

TEST_CASE("AutoSearch: where the machine is slower than the plan, trainings get shorter") {
  const Bench& bench = Bench::Once();
  slow_clock = 0;
  const Instruments instruments{.nanoseconds = [] { return slow_clock += 100'000'000; }, .runs = 1};
  SearchConfig config = Quick();
  const auto outcome = Get(
      AutoSearch(config, bench.Inputs(&bench.profile, bench.run, &instruments), bench.choosing));
  CHECK(outcome.cut_short);
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  for (const Trial& trial : outcome.trials) {
    if (trial.kind == "student" || trial.steps.empty()) continue;
    first = trial.steps.front();
    if (trial.steps.size() > 1) last = trial.steps.back();
  }
  CHECK(first > 0);
  CHECK(last < 4 * first);
}

TEST_CASE("AutoSearch: calls that cannot be meant are refused") {
  const Bench& bench = Bench::Once();
  const auto refused = [&](auto change) {
    SearchConfig config = Quick();
    change(config);
    return CodeOf(bench.Run(config)) == ErrorCode::kInvalidArgument;
  };
  CHECK(refused([](SearchConfig& config) { config.budget.drop_points_max = -1; }));
  CHECK(refused([](SearchConfig& config) { config.budget.latency_us_max = std::nan(""); }));
  CHECK(refused([](SearchConfig& config) { config.seconds = 0; }));
  CHECK(refused([](SearchConfig& config) { config.candidates = 3; }));
  CHECK(refused([](SearchConfig& config) { config.rungs = 0; }));
  const data::Subset none(bench.digits.test.shared_dataset(), {});
  CHECK(CodeOf(AutoSearch(Quick(), bench.Inputs(&bench.profile, bench.run), none)) ==
        ErrorCode::kInvalidArgument);
  CHECK(CodeOf(AutoSearch(Quick(), bench.Inputs(nullptr, bench.run), bench.choosing)) ==
        ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fl::deploy
