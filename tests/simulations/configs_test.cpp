#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "fl/compression/check_plan.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

using testing::Get;

TEST_CASE("Configs: each plan of the folder loads and its parts fit together") {
  std::size_t plans = 0;
  for (const auto& entry : std::filesystem::directory_iterator(FL_TEST_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".toml") continue;
    CAPTURE(entry.path().string());
    const auto plan = Get(CheckPlan(Get(LoadPlan(entry.path().string())), entry.path().string()));
    CHECK(!plan->plan.simulation.data.empty());
    CHECK(plan->plan.rounds.population_min <= plan->plan.simulation.devices);
    ++plans;
  }
  CHECK(plans >= 4);
}

}  // namespace
}  // namespace fl
