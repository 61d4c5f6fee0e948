#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "fl/compression/check_plan.h"
#include "fl/tests/support/result.h"

namespace fl {
namespace {

using testing::Get;

// The number of plans that the folder holds, each checked.
std::size_t CheckPlansOf(const std::string& folder) {
  std::size_t plans = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".toml") continue;
    CAPTURE(entry.path().string());
    const auto plan = Get(CheckPlan(Get(LoadPlan(entry.path().string())), entry.path().string()));
    CHECK(!plan->plan.simulation.data.empty());
    CHECK(plan->plan.rounds.population_min <= plan->plan.simulation.devices);
    ++plans;
  }
  return plans;
}

TEST_CASE("Configs: each plan of the folder loads and its parts fit together") {
  CHECK(CheckPlansOf(FL_TEST_SOURCE_DIR "/configs") >= 4);
}

TEST_CASE("Configs: each plan of a study loads and its parts fit together") {
  CHECK(CheckPlansOf(FL_TEST_SOURCE_DIR "/configs/studies") >= 4);
}

}  // namespace
}  // namespace fl
