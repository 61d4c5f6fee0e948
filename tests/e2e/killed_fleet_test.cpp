#include <map>
#include <thread>

#include <doctest/doctest.h>

#include "fl/common/random/rng_stream.h"
#include "fl/tests/e2e/fleet.h"
#include "fl/tests/support/environment.h"

namespace fl::testing {
namespace {

using nlohmann::json;

// What the killed program's log says last, as one word.
std::string StateOf(const std::string& log) {
  std::string last = "starting";
  std::size_t newest = 0;
  for (const char* state : {"selecting", "collecting", "folding", "published", "trained",
                            "accepted", "installed", "tries again"}) {
    const std::size_t at = log.rfind(state);
    if (at == std::string::npos || at < newest) continue;
    newest = at;
    last = state;
  }
  return last;
}

TEST_CASE("Federation: 20 kills at random moments leave the model of an undisturbed run") {
  const auto kills = static_cast<int>(FromEnvironment("FL_FAULT_KILLS", 20));
  const std::uint64_t seed = FromEnvironment("FL_FAULT_SEED", 1);
  CAPTURE(seed);
  RngStream rng(seed);
  const int rounds = 2 * kills;
  Fleet fleet(DigitsPlan(rounds));
  fleet.StartServer();
  fleet.StartDevices();
  std::map<std::string, int> states;
  for (int kill = 0; kill < kills; ++kill) {
    std::this_thread::sleep_for(std::chrono::milliseconds(rng.UniformInteger(400)));
    const std::size_t victim = rng.UniformInteger(Fleet::kDevices + 2);
    if (victim < Fleet::kDevices) {
      fleet.device(victim).Kill();
      ++states["device " + StateOf(fleet.device(victim).err())];
      fleet.StartDevice(victim);
    } else {
      fleet.server().Kill();
      ++states["server " + StateOf(fleet.server().err())];
      fleet.StartServer();
    }
  }
  fleet.AwaitDone();
  const json report = fleet.Report();
  REQUIRE(report.at("rounds").size() == static_cast<std::size_t>(rounds));
  for (const json& round : report.at("rounds")) CHECK(round.at("accepted") == 4);
  CHECK(ModelOf(report) == fleet.SimulatedModel(1));
  std::string counts;
  for (const auto& [state, count] : states) counts += state + " " + std::to_string(count) + ", ";
  MESSAGE(counts, kills, " kills in all");
}

}  // namespace
}  // namespace fl::testing
