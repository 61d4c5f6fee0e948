#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fl/common/base/clock.h"
#include "fl/simulations/federation/simulation.h"
#include "fl/tests/support/result.h"

// A federation that runs in a few milliseconds: four classes around four corners of the plane.
namespace fl::testing {

inline std::shared_ptr<const data::Dataset> Corners(std::size_t samples, std::uint64_t seed) {
  data::Samples corners;
  corners.shape = Shape{2};
  corners.classes = 4;
  std::vector<float> features;
  RngStream rng(seed);
  for (std::size_t i = 0; i < samples; ++i) {
    const auto label = static_cast<std::int32_t>(rng.UniformInteger(4));
    features.push_back((label % 2 == 0 ? -1.0F : 1.0F) + 0.4F * rng.Normal());
    features.push_back((label / 2 == 0 ? -1.0F : 1.0F) + 0.4F * rng.Normal());
    corners.labels.push_back(label);
  }
  corners.features = std::move(features);
  return std::make_shared<const data::Dataset>(Get(data::Dataset::Create(std::move(corners))));
}

// The plan of the federation; `settings` as for fl-sim --set.
inline std::shared_ptr<const CheckedPlan> CornersPlan(
    const std::vector<std::string>& settings = {}) {
  const std::string text = R"(name = "corners"
seed = 7
[model]
input = [2]
layers = ["dense 16", "relu", "dense 4"]
[training]
batch_size = 8
learning_rate = 0.1
[rounds]
count = 5
population_min = 6
goal = 4
min_report = 2
deadline_s = 60
wait_s = 1
[compression]
gather_below = 0
[[compression.recipe]]
tensors = "*"
recipe = "quantize 8"
[simulation]
devices = 6
data = "corners"
partition = "dirichlet"
alpha = 1.0
)";
  const std::string changed = Get(OverridePlan(text, settings));
  return Get(CheckPlan(Get(ParsePlan(changed, "corners.toml")), "corners.toml"));
}

inline sim::FederationData CornersData(const CheckedPlan& plan) {
  sim::FederationData data;
  data.training = Corners(600, 1);
  data.evaluation = Corners(400, 2);
  sim::SampleFacts facts{600, {data.training->labels().begin(), data.training->labels().end()}, {}};
  data.shares = Get(sim::Partition(plan.plan.simulation, facts, plan.plan.seed));
  return data;
}

// The simulation and what outlives it.
class SmallFederation {
 public:
  explicit SmallFederation(const std::vector<std::string>& settings = {},
                           sim::SimulationOptions options = {}) {
    const auto plan = CornersPlan(settings);
    sim::FederationData data = CornersData(*plan);
    simulation_ = Get(
        sim::Simulation::Create(plan, std::move(data), std::move(options), {clock_, stop, log_}));
  }

  sim::Simulation& operator*() { return *simulation_; }
  sim::Simulation* operator->() { return simulation_.get(); }
  // Plays it to the end and reports.
  server::Report Play() {
    Get(simulation_->Run([this](const sim::RoundSeen& round) { seen.push_back(round); }));
    return Get(simulation_->Report());
  }

  std::atomic<bool> stop{false};
  std::vector<sim::RoundSeen> seen;

 private:
  SystemClock clock_;
  Logger log_{LogLevel::kOff};
  std::unique_ptr<sim::Simulation> simulation_;
};

}  // namespace fl::testing
