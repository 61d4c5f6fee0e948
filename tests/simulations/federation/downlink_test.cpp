#include <cstdio>
#include <string>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include "fl/common/nn/initialize.h"
#include "fl/common/nn/model_file.h"
#include "fl/compression/lattice.h"
#include "fl/tests/simulations/play.h"

namespace fl::sim {
namespace {

using testing::Get;

// A hundred devices with fifty digits each, two kinds of them; ten are asked in a round.
constexpr const char* kFewOfMany = R"(name = "few-of-many"
seed = 1
[model]
input = [28, 28, 1]
layers = ["flatten", "dense 32", "relu", "dense 10"]
[data]
normalize = "unit"
holdout = 0.0
[training]
learning_rate = 0.2
[rounds]
count = 60
population_min = 100
goal = 10
min_report = 10
wait_s = 5
[compression]
gathered = "quantize step=0.7"
[[compression.recipe]]
tensors = "*"
recipe = "low_rank 6 | quantize step=2"
[aggregation]
publish = "lattice"
lattice_step = "auto"
[simulation]
devices = 100
data = "idx:data/mnist-mini/train"
partition = "shards"
shards_per_device = 2
)";

// Plays the plan and gives back where each published version was.
std::vector<Lattice::Point> PointsOf(const std::shared_ptr<const CheckedPlan>& plan,
                                     const Lattice& lattice) {
  std::vector<Lattice::Point> points = {Lattice::Point(lattice.layout().total(), 0)};
  testing::Play(plan, FL_TEST_SOURCE_DIR, [&](Simulation& simulation) {
    const nn::ModelFile file = Get(nn::ParseModelFile(Get(simulation.ExportModel())));
    points.push_back(Get(lattice.PointOf(std::get<nn::FloatModel>(file.model).parameters)));
  });
  CHECK(points.size() == plan->plan.rounds.count + 1);
  return points;
}

// What a federation of 100 with 10 a round pays for visits after every lag: the weight of lag L is
// 0.1 x 0.9^(L - 1), so that the mean is 10.
struct Downlink {
  double changes = 0;  // Bytes of one change over the lag.
  double missed = 0;   // Bytes of the missed rounds' changes.
};

Downlink Measure(const std::vector<Lattice::Point>& points, const TensorLayout& layout) {
  const auto bytes = [&](std::size_t from, std::size_t to) {
    return static_cast<double>(
        EncodeLatticeChange(ChangeBetween(points[from], points[to], 0), layout).size());
  };
  std::vector<double> single(points.size());
  for (std::size_t to = 1; to < points.size(); ++to) single[to] = bytes(to - 1, to);
  Downlink sum;
  for (std::size_t to = 1; to < points.size(); ++to) {
    double weight = 0.1;
    double missed = 0;
    for (std::size_t from = to; from-- > 0; weight *= 0.9) {
      missed += single[from + 1];
      sum.changes += weight * bytes(from, to);
      sum.missed += weight * missed;
    }
  }
  return sum;
}

TEST_CASE("Downlink: one change over a lag of ten rounds is a fraction of what was missed") {
  const auto plan = testing::CheckedPlanOf(kFewOfMany);
  const Lattice lattice(
      plan->graph.parameters,
      nn::InitializeParameters(plan->graph, RngStream(plan->plan.seed).Child("model")).values,
      kFinestLatticeStep);
  const std::vector<Lattice::Point> points = PointsOf(plan, lattice);
  const Downlink sum = Measure(points, lattice.layout());
  const double ratio = sum.changes / sum.missed;
  std::printf("any-lag changes / missed rounds' changes: %.3f over %zu versions\n", ratio,
              points.size() - 1);
  CHECK(ratio <= 0.5);
}

}  // namespace
}  // namespace fl::sim
