#include "fl/server/fold/fold.h"

#include "fl/tests/server/support/fake_fleet.h"
#include "fl/tests/support/property.h"

namespace fl::server::testing {
namespace {

std::shared_ptr<const FederationPlan> PlanWith(const std::string& recipe, double width = 1) {
  return MakePlan(
      "name = \"wide\"\nseed = 7\n[model]\ninput = [40]\nlayers = [\"dense 30\", \"relu\", \"dense "
      "5\"]\n[training]\nwidth = " +
      std::to_string(width) +
      "\n"
      "[compression]\ngather_below = 50\nresidual = false\n[[compression.recipe]]\ntensors = "
      "\"*\"\nrecipe = "
      "\"" +
      recipe + "\"\n" +
      (recipe.starts_with("sketch") ? "[aggregation]\nstrategy = \"fetch_sgd\"\n" : "") +
      "[[stream]]\nname = \"labels\"\nsource = \"label_counts\"\ncombiner = \"sum\"\n");
}

std::shared_ptr<const FederationPlan> QuantizedPlan() {
  return PlanWith("quantize 4");
}

constexpr const char* kRotated =
    "hadamard 64 seed=shared | quantize 6 scale=shared range=4 stochastic";

constexpr const char* kSketched = "sketch 3x40 | quantize 8 scale=shared range=60";

// An update of a random client; now and then a slice without one of the segments.
JournalEntry RandomEntry(const FederationPlan& plan, std::uint64_t position, RngStream& rng) {
  wire::Task task;
  task.recipe = plan.recipe();
  std::vector<float> delta(plan.layout().total());
  rng.FillNormal(delta);
  const std::uint64_t examples = 1 + rng.UniformInteger(100);
  wire::Update update = UpdateFor(plan, task, delta, examples);
  auto& entries = update.streams[0].entries;
  if (rng.UniformInteger(3) == 0)
    entries.erase(entries.begin() +
                  static_cast<std::ptrdiff_t>(rng.UniformInteger(entries.size())));
  return {position, examples, wire::EncodeUpdate(update)};
}

std::vector<JournalEntry> RandomJournal(const FederationPlan& plan, RngStream& rng) {
  std::vector<JournalEntry> entries;
  for (std::uint64_t slot = 0; slot < 150; ++slot) {
    if (rng.UniformInteger(4) > 0) entries.push_back(RandomEntry(plan, slot, rng));
  }
  entries.push_back(RandomEntry(plan, JournalPosition(1, 3), rng));
  return entries;
}

// What of the two rounds below is of any one.
TEST_CASE("Fold: a late update of other units counts for its own coordinates alone") {
  const auto plan = PlanWith("raw", 0.5);
  RngStream rng(8);
  std::vector<double> sums(plan->layout().total());
  std::vector<double> weights(sums.size());
  std::vector<JournalEntry> entries;
  for (const std::uint64_t round : {1UL, 2UL, 2UL}) {
    wire::Task task;
    task.round = round;
    task.recipe = plan->recipe();
    std::vector<float> delta(sums.size());
    rng.FillNormal(delta);
    const std::uint64_t examples = 1 + rng.UniformInteger(100);
    entries.push_back({entries.size(), examples,
                       wire::EncodeUpdate(UpdateFor(*plan, task, delta, examples)), round});
    for (const std::uint64_t at : plan->checked().narrowing->AllCoordinates(round)) {
      sums[at] += static_cast<double>(examples) * double{delta[at]};
      weights[at] += static_cast<double>(examples);
    }
  }
  const FoldResult result = Fold(*plan, Get(ParsedJournal::Parse(*plan, entries)), {}, nullptr);
  std::size_t nobody = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    nobody += weights[i] == 0 ? 1 : 0;
    CHECK(double{result.streams[0].values[i]} ==
          doctest::Approx(weights[i] > 0 ? sums[i] / weights[i] : 0).epsilon(1e-4));
  }
  CHECK(nobody > 0);
}

TEST_CASE("Fold: gives the same bits for any partition of the groups among processes") {
  fl::testing::ForAll(6, [&](RngStream& rng) {
    const std::array<const char*, 4> recipes = {"quantize 4", kRotated, kSketched, "top_k 10%"};
    const std::size_t recipe = rng.UniformInteger(recipes.size());
    const auto plan = PlanWith(recipes[recipe], recipe == 3 ? 0.4 : 1);
    const std::vector<JournalEntry> entries = RandomJournal(*plan, rng);
    const FoldOptions options;
    const ParsedJournal whole = Get(ParsedJournal::Parse(*plan, entries));
    const FoldResult expected = Fold(*plan, whole, options, nullptr);
    const std::size_t ranks = 1 + rng.UniformInteger(5);
    std::vector<std::vector<JournalEntry>> journals(ranks);
    std::vector<std::size_t> owner(1000);
    for (std::size_t& rank : owner) rank = rng.UniformInteger(ranks);
    for (const JournalEntry& entry : entries) {
      journals[owner[(entry.position / kGroupSlots) % owner.size()]].push_back(entry);
    }
    std::vector<GroupSums> parts;
    for (std::vector<JournalEntry>& journal : journals) {
      rng.Shuffle(std::span(journal));
      const ParsedJournal own = Get(ParsedJournal::Parse(*plan, journal));
      parts.push_back(FoldGroups(*plan, own, own.groups(), options));
    }
    CHECK(CombineGroups(*plan, std::move(parts)) == expected);
  });
}

TEST_CASE("Fold: gives the same bits for any order and number of threads and size of blocks") {
  ThreadPool pool(3);
  for (const char* recipe : {"quantize 4", kRotated, kSketched, "top_k 10%"}) {
    CAPTURE(recipe);
    const auto plan = PlanWith(recipe, recipe[0] == 't' ? 0.4 : 1);
    RngStream rng(3);
    std::vector<JournalEntry> entries = RandomJournal(*plan, rng);
    FoldOptions options;
    const FoldResult expected =
        Fold(*plan, Get(ParsedJournal::Parse(*plan, entries)), options, nullptr);
    for (const std::size_t block : {1UL, 7UL, 64UL, 100000UL}) {
      rng.Shuffle(std::span(entries));
      options.block_coordinates = block;
      CHECK(Fold(*plan, Get(ParsedJournal::Parse(*plan, entries)), options, &pool) == expected);
    }
  }
}

// One update of weight 3: the mean is what its decoder sees, up to the rounding of fp32.
TEST_CASE("Fold: levels of a shared rotation are summed and turned back once") {
  const auto plan = PlanWith(kRotated);
  RngStream rng(5);
  wire::Task task;
  task.recipe = plan->recipe();
  std::vector<float> delta(plan->layout().total());
  rng.FillNormal(delta);
  const wire::Update update = UpdateFor(*plan, task, delta, 3);
  const ParsedJournal journal =
      Get(ParsedJournal::Parse(*plan, {{0, 3, wire::EncodeUpdate(update)}}));
  const FoldResult result = Fold(*plan, journal, {}, nullptr);
  double error = 0;
  for (std::size_t i = 0; i < delta.size(); ++i) {
    const double difference =
        static_cast<double>(result.streams[0].values[i]) - static_cast<double>(delta[i]);
    error += difference * difference;
  }
  // Stochastic rounding to a step of 4 / 31: a sixth of its square a value, and little clipped.
  CHECK(error / static_cast<double>(delta.size()) < 2 * (4.0 / 31) * (4.0 / 31) / 6);
}

// Two rounds with rotations of their own in one group: each is turned back by its own seed.
TEST_CASE("Fold: levels of a late update are turned back as its own round's") {
  const auto plan = PlanWith(kRotated);
  RngStream rng(6);
  std::vector<float> delta(plan->layout().total());
  rng.FillNormal(delta);
  std::map<std::uint64_t, RoundParameters> parameters;
  std::vector<JournalEntry> entries;
  for (const std::uint64_t round : {1UL, 2UL}) {
    RoundParameters& own = parameters[round];
    own = plan->initial_parameters();
    own.bytes[0] = static_cast<std::byte>(40 + round);
    own.round = round;
    wire::Task task;
    task.round = round;
    task.recipe = plan->recipe();
    const wire::Update update = UpdateFor(*plan, task, delta, 2, own.bytes);
    entries.push_back({round, 2, wire::EncodeUpdate(update), round});
  }
  const auto error_of = [&](std::map<std::uint64_t, RoundParameters> with) {
    const FoldResult result =
        Fold(*plan, Get(ParsedJournal::Parse(*plan, entries, std::move(with))), {}, nullptr);
    double error = 0;
    for (std::size_t i = 0; i < delta.size(); ++i) {
      const double difference = double{result.streams[0].values[i]} - double{delta[i]};
      error += difference * difference;
    }
    return error / static_cast<double>(delta.size());
  };
  CHECK(error_of(parameters) < (4.0 / 31) * (4.0 / 31) / 6);
  CHECK(error_of({{1, parameters[1]}, {2, parameters[1]}}) > 0.1);
}

TEST_CASE("Fold: weighs by examples or uniformly and sums where the stream says so") {
  const auto plan = QuantizedPlan();
  RngStream rng(4);
  std::vector<JournalEntry> entries = {RandomEntry(*plan, 0, rng), RandomEntry(*plan, 40, rng)};
  const ParsedJournal journal = Get(ParsedJournal::Parse(*plan, entries));
  FoldOptions options;
  const FoldResult examples = Fold(*plan, journal, options, nullptr);
  options.weights = WeightRule::kUniform;
  const FoldResult uniform = Fold(*plan, journal, options, nullptr);
  CHECK(journal.groups() == std::vector<std::uint64_t>{0, 1});
  CHECK(examples.streams[1].values == std::vector<float>(5, 2.0F));
  CHECK(uniform.streams[1] == examples.streams[1]);
  CHECK(uniform.streams[0].weights.back() <= 2.0);
  CHECK(examples.streams[0].weights.back() > 2.0);
  CHECK(examples.metrics.examples == entries[0].examples + entries[1].examples);
  CHECK(examples.metrics.accuracy_before == 0.5);
}

TEST_CASE("Fold: of nothing is zero") {
  const auto plan = QuantizedPlan();
  const FoldResult result = Fold(*plan, Get(ParsedJournal::Parse(*plan, {})), {}, nullptr);
  CHECK(result.streams[0].values == std::vector<float>(plan->layout().total()));
  CHECK_FALSE(result.metrics.loss_before.has_value());
}

TEST_CASE("A journal that does not parse: is our own fault") {
  const auto plan = QuantizedPlan();
  CHECK(CodeOf(ParsedJournal::Parse(*plan, {{0, 1, Bytes(7)}})) == ErrorCode::kInternal);
}

}  // namespace
}  // namespace fl::server::testing
