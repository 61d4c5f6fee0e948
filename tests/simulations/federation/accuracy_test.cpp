#include <string>

#include <doctest/doctest.h>

#include "fl/tests/simulations/play.h"

// What recipes cost and reach in the same rounds, on the images of the repository.
namespace fl::sim {
namespace {

constexpr std::size_t kLastRounds = 5;  // Accuracies are means over so many.

struct Reached {
  double accuracy = 0;  // Percent, of the released models of the last rounds.
  double bytes_up = 0;  // Bodies.
};

std::string PlanWith(const std::string& recipe) {
  return R"(name = "digits"
seed = 1
[model]
input = [28, 28, 1]
layers = ["flatten", "dense 64", "relu", "dense 10"]
[data]
normalize = "unit"
holdout = 0.0
[training]
epochs = 1
batch_size = 10
learning_rate = 0.1
[rounds]
count = 40
population_min = 20
goal = 10
min_report = 10
[compression]
gathered = "quantize step=0.7 | context"
[[compression.recipe]]
tensors = "*"
recipe = ")" +
         recipe + R"("
[aggregation]
released = "average"
[evaluation]
data = "idx:mnist-mini/test"
[simulation]
devices = 20
data = "idx:mnist-mini/train"
partition = "shards"
)";
}

Reached PlayPlan(const std::string& plan) {
  const server::Report report =
      testing::Play(testing::CheckedPlanOf(plan), FL_TEST_SOURCE_DIR "/data");
  Reached reached{.bytes_up = static_cast<double>(report.totals.traffic.body_bytes_up)};
  const std::size_t rounds = report.rounds.size();
  for (std::size_t i = rounds - kLastRounds; i < rounds; ++i) {
    reached.accuracy += 100 * report.rounds[i].accuracy.value_or(0) / kLastRounds;
  }
  return reached;
}

Reached PlayDigits(const std::string& recipe) {
  return PlayPlan(PlanWith(recipe));
}

// The bars leave some two points of room: the last bits of training differ between processors.
TEST_CASE("Accuracy: coarse recipes learn in fp32's rounds with a hundredth of its bytes") {
  struct Case {
    std::string recipe;
    double drop_max;   // Points below fp32.
    double fewer_min;  // Times fewer bytes up than fp32.
  };
  const Reached plain = PlayDigits("raw");
  CAPTURE(plain.accuracy);
  CHECK(plain.accuracy >= 84);
  for (const Case& one :
       {Case{"low_rank 6 | quantize step=2 | context", 2, 200},
        Case{"dead_zone 4 | context", 2.5, 140}, Case{"top_k 1% | ternary | context", 2.5, 200}}) {
    CAPTURE(one.recipe);
    const Reached coarse = PlayDigits(one.recipe);
    CAPTURE(coarse.accuracy);
    CAPTURE(plain.bytes_up / coarse.bytes_up);
    CHECK(plain.accuracy - coarse.accuracy <= one.drop_max);
    CHECK(plain.bytes_up / coarse.bytes_up >= one.fewer_min);
  }
}

TEST_CASE("Accuracy: clients that keep nothing learn through the sum of their sketches") {
  std::string plan = PlanWith("raw");
  const auto put = [&](const std::string& before, const std::string& text) {
    plan.insert(plan.find(before), text);
  };
  put("gathered", "residual = false\n");
  put("[[compression.recipe]]",
      "[[compression.recipe]]\ntensors = \"dense1.weight\"\nrecipe = \"sketch 5x2000 | fp16\"\n");
  put("[evaluation]", "strategy = \"fetch_sgd\"\nmomentum = 0\n");
  const Reached sketched = PlayPlan(plan);
  CHECK(sketched.accuracy >= 74);
  CHECK(sketched.bytes_up < 10.0e6);  // fp32: 81.6 MB.
}

TEST_CASE("Accuracy: rounds that train half of each layer's units send a half and learn") {
  std::string plan = PlanWith("raw");
  plan.insert(plan.find("epochs"), "width = 0.5\n");
  const Reached narrow = PlayPlan(plan);
  CHECK(narrow.accuracy >= 78);
  CHECK(narrow.bytes_up < 0.52 * 81.6e6);
}

}  // namespace
}  // namespace fl::sim
