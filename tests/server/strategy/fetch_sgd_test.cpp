#include "fl/server/strategy/fetch_sgd.h"

#include <cmath>
#include <numeric>

#include <doctest/doctest.h>

#include "fl/compression/codecs/sketch.h"
#include "fl/tests/support/property.h"
#include "fl/tests/support/result.h"

namespace fl::server {
namespace {

using testing::Get;

// Parameters: a matrix of 1200, a vector of 30, a matrix of 300 and a vector of 10.
constexpr std::size_t kAll = 1540;
constexpr std::size_t kSecond = 1230;  // Where the second matrix begins.

bool InMatrix(std::size_t index) {
  return index < 1200 || (index >= kSecond && index < kSecond + 300);
}

// Each tensor is a segment, vectors are raw; `second`: the second matrix's recipe.
std::shared_ptr<const CheckedPlan> PlanOf(const std::string& aggregation,
                                          const std::string& second = "sketch 5x40") {
  return Get(CheckPlan(Get(ParsePlan(R"(name = "fetched"
seed = 7
[model]
input = [40]
layers = ["dense 30", "relu", "dense 10"]
[compression]
residual = false
gather_below = 0
[[compression.recipe]]
tensors = "*.bias"
recipe = "raw"
[[compression.recipe]]
tensors = "dense1.weight"
recipe = "sketch 5x100"
[[compression.recipe]]
tensors = "*"
recipe = ")" + second + "\"\n[aggregation]\nstrategy = \"fetch_sgd\"\n" +
                                         aggregation,
                                     "p.toml")),
                       "p.toml"));
}

// What the fold makes of a round whose mean update is `values`.
StreamAggregate AggregateOf(const SegmentPlan& segments, std::vector<float> values) {
  StreamAggregate aggregate{0, std::move(values), {}, {}};
  for (std::size_t s = 0; s < segments.segments().size(); ++s) {
    const CountSketch* sketch = SketchOf(*segments.segments()[s].codec);
    std::vector<float>& cells = aggregate.sums.emplace_back();
    if (sketch == nullptr) continue;
    std::vector<float> own(sketch->count());
    segments.Gather(s, aggregate.values, own);
    cells.resize(sketch->cells());
    sketch->Add(own, 0, cells);
  }
  return aggregate;
}

// Whole numbers, so that all sums of cells are exact.
std::vector<float> WholeNumbers(std::size_t count, RngStream& rng) {
  std::vector<float> values(count);
  for (float& value : values) value = std::round(4 * rng.Normal());
  return values;
}

TEST_CASE("FetchSgd: what was applied and what the error holds are the sum of all updates") {
  const auto plan = PlanOf("momentum = 0\nkeep = 20");
  const auto strategy = MakeStrategy(*plan);
  testing::ForAll(3, [&](RngStream& rng) {
    StateTensors state;
    std::vector<float> sum(kAll);
    std::vector<float> model(kAll);
    for (int round = 0; round < 10; ++round) {
      const std::vector<float> update = WholeNumbers(kAll, rng);
      const std::vector<float> next =
          strategy->Step(model, AggregateOf(plan->delta, update), state);
      std::size_t moved = 0;
      for (std::size_t i = 0; i < kAll; ++i) {
        moved += InMatrix(i) && next[i] != model[i] ? 1 : 0;
        sum[i] += update[i];
      }
      CHECK(moved == 20);
      model = next;
    }
    std::vector<float> left(kAll);
    for (std::size_t i = 0; i < kAll; ++i) left[i] = sum[i] - model[i];
    const StreamAggregate expected = AggregateOf(plan->delta, left);
    for (const std::size_t s : {0U, 2U}) {
      CHECK(state.at("error/" + plan->delta.segments()[s].name) == expected.sums[s]);
    }
    for (std::size_t i = 0; i < kAll; ++i) CHECK((InMatrix(i) || left[i] == 0));
  });
}

TEST_CASE("FetchSgd: momentum adds up over rounds, in cells and in plain values alike") {
  const auto plan = PlanOf("momentum = 0.5\nserver_step = 0.25\nkeep = 1", "raw");
  const auto strategy = MakeStrategy(*plan);
  std::vector<float> update(kAll);
  update[17] =
      64;  // The one large value of the sketched matrix; the other one is applied as a whole.
  update[kSecond + 3] = -8;
  update[kSecond + 250] = 16;
  StateTensors state;
  std::vector<float> model(kAll);
  float momentum = 0;
  float moved = 0;
  for (int round = 0; round < 4; ++round) {
    model = strategy->Step(model, AggregateOf(plan->delta, update), state);
    momentum = 0.5F * momentum + 1;
    moved += 0.25F * momentum;
    std::vector<float> expected(kAll);
    for (std::size_t i = 0; i < kAll; ++i) expected[i] = moved * update[i];
    CHECK(model == expected);
  }
}

TEST_CASE("FetchSgd: values too small for one round's step come when they have added up") {
  const auto plan = PlanOf("momentum = 0\nkeep = 0.002");  // Three coordinates a step.
  const auto strategy = MakeStrategy(*plan);
  std::vector<float> update(kAll);
  for (std::size_t i = 0; i < 12; ++i) update[100 * i] = i < 3 ? 10 : 4;
  StateTensors state;
  std::vector<float> model(kAll);
  for (int round = 0; round < 40; ++round) {
    const std::vector<float> next = strategy->Step(model, AggregateOf(plan->delta, update), state);
    if (round == 0) {
      for (std::size_t i = 0; i < 12; ++i) CHECK(next[100 * i] == (i < 3 ? 10 : 0));
    }
    model = next;
  }
  for (std::size_t i = 0; i < 12; ++i) {
    CAPTURE(i);
    CHECK(model[100 * i] == doctest::Approx(40 * update[100 * i]).epsilon(0.35));
  }
}

TEST_CASE("FetchSgd: moves an eighth of the columns unless the plan says otherwise") {
  const auto plan = PlanOf("");
  RngStream rng(9);
  StateTensors state;
  const std::vector<float> next = MakeStrategy(*plan)->Step(
      std::vector<float>(kAll), AggregateOf(plan->delta, WholeNumbers(kAll, rng)), state);
  std::size_t moved = 0;
  for (std::size_t i = 0; i < kAll; ++i) moved += InMatrix(i) && next[i] != 0 ? 1 : 0;
  CHECK(moved == 17);
}

TEST_CASE("FetchSgd: keys of its own are refused elsewhere, and counts that are none") {
  const auto refusal = [](const std::string& aggregation) {
    const auto plan = ParsePlan(
        "name = \"p\"\nseed = 1\n[model]\ninput = [2]\nlayers = [\"dense "
        "2\"]\n[aggregation]\n" +
            aggregation,
        "p.toml");
    return plan ? std::string() : plan.error().message;
  };
  CHECK(refusal("momentum = 0.5").find("p.toml:7:") == 0);
  CHECK(refusal("momentum = 0.5").find("is of strategy = \"fetch_sgd\"") != std::string::npos);
  CHECK(refusal("keep = 100").find("is of strategy = \"fetch_sgd\"") != std::string::npos);
  CHECK(refusal("strategy = \"fetch_sgd\"\nkeep = 1.5").find("a whole number") !=
        std::string::npos);
  CHECK(refusal("strategy = \"fetch_sgd\"\nmomentum = 1").find("momentum") != std::string::npos);
  CHECK(refusal("strategy = \"fetch_sgd\"\nkeep = 1000\nmomentum = 0").empty());
}

}  // namespace
}  // namespace fl::server
