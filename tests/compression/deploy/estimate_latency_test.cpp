#include "fl/compression/deploy/estimate_latency.h"

#include <doctest/doctest.h>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/operator.h"
#include "fl/tests/support/result.h"

namespace fl::deploy {
namespace {

nn::Graph Dense(const std::string& layer) {
  return testing::Get(
      nn::BuildGraph(Shape{100}, std::vector<std::string>{layer}, "mean_squared_error"));
}

HardwareProfile MakeProfile() {
  HardwareProfile profile;
  profile.fp32_gflops = 1;
  profile.int8_gops = 2;
  profile.memory_gbps = 1e6;
  return profile;
}

TEST_CASE("EstimateLatency: a row of the operator counts, scaled by its size") {
  HardwareProfile profile = MakeProfile();
  const double few = nn::CostOf(Dense("dense 10")).flops / 2;
  profile.operators = {{"dense 10", {100}, few, 4, 1},
                       {"dense 1000", {100}, 100 * few, 1000, 900},
                       {"conv 8 3x3", {8, 8, 1}, 2 * few, 77, 77}};
  const double twice = nn::CostOf(Dense("dense 20")).flops / 2 / few;
  CHECK(testing::Get(EstimateLatency(profile, Dense("dense 10"), false)) == doctest::Approx(4));
  CHECK(testing::Get(EstimateLatency(profile, Dense("dense 20"), false)) ==
        doctest::Approx(4 * twice));
  CHECK(testing::Get(EstimateLatency(profile, Dense("dense 20"), true)) == doctest::Approx(twice));
}

TEST_CASE("EstimateLatency: without a row the rates count, the slower of the two") {
  HardwareProfile profile = MakeProfile();
  profile.operators = {{"conv 8 3x3", {8, 8, 1}, 1000, 77, 77}};
  const nn::OperatorCost cost = nn::CostOf(Dense("dense 10"));
  CHECK(testing::Get(EstimateLatency(profile, Dense("dense 10"), false)) ==
        doctest::Approx(cost.flops * 1e-3));
  CHECK(testing::Get(EstimateLatency(profile, Dense("dense 10"), true)) ==
        doctest::Approx(cost.flops * 0.5e-3));
  profile.memory_gbps = 0.001;
  CHECK(testing::Get(EstimateLatency(profile, Dense("dense 10"), false)) >
        cost.parameter_bytes * 0.9);
}

TEST_CASE("EstimateLatency: the way in counts once, ReLU and flatten not at all") {
  HardwareProfile profile = MakeProfile();
  profile.operators = {{"relu", {100}, 50, 3, 2}};
  const nn::Graph graph = testing::Get(
      nn::BuildGraph(Shape{10, 10, 1}, std::vector<std::string>{"relu", "flatten", "relu6"},
                     "mean_squared_error"));
  CHECK(testing::Get(EstimateLatency(profile, graph, false)) == doctest::Approx(1.5));
  CHECK(testing::Get(EstimateLatency(profile, graph, true)) == doctest::Approx(1));
}

TEST_CASE("EstimateLatency: a type that the device lacks is refused") {
  HardwareProfile profile = MakeProfile();
  profile.types = {"fp32"};
  CHECK(testing::CodeOf(EstimateLatency(profile, Dense("dense 10"), true)) ==
        ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace fl::deploy
