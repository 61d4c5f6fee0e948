#include <doctest/doctest.h>

#include "fl/tests/e2e/fleet.h"
#include "fl/tests/support/small_disk.h"

namespace fl::testing {
namespace {

using nlohmann::json;

constexpr double kSeconds = 60;

bool Says(const std::string& log, const std::string& what) {
  return log.find(what) != std::string::npos;
}

TEST_CASE("Federation: a server whose disk is full says so, and goes on when there is room") {
  Fleet fleet(DigitsPlan(20));
  const SmallDisk disk(fleet.path("server"), 8);
  if (!disk.mounted()) {
    MESSAGE("SKIPPED: this system mounts no tmpfs for a user");
    return;
  }
  fleet.StartServer();
  fleet.StartDevices();
  fleet.AwaitPublished(2);
  disk.Fill();
  REQUIRE(Eventually(kSeconds, [&] { return Says(fleet.server().err(), "disk is full"); }));
  const auto told = [&] {
    for (std::size_t i = 0; i < Fleet::kDevices; ++i) {
      if (Says(fleet.device(i).err(), "the server cannot store anything now")) return true;
    }
    return false;
  };
  CHECK(Eventually(kSeconds, told));
  // An operator sees the federation all the same, and what is wrong.
  const Outcome status = RunProgram({Program("fl-server"), "status", "--server", fleet.address(),
                                     "--pki", fleet.path("pki/operator")},
                                    fleet.path("status"));
  CHECK(status.status == 0);
  CHECK(Says(status.out, "rounds published, 4 devices known\nstorage       failed 0:0"));
  CHECK(Says(status.out, "disk is full"));

  // A server that is started on a full disk says that, too, and loses nothing.
  SUBCASE("killed meanwhile") {
    fleet.server().Kill();
    const Outcome started = RunProgram(fleet.ServerCall(), fleet.path("started"), kSeconds);
    CHECK(started.status == 1);
    CHECK((Says(started.err, "full") || Says(started.err, "No space left")));
    disk.Empty();
    fleet.StartServer();
  }
  SUBCASE("left alone") {
    disk.Empty();
  }
  fleet.AwaitDone();
  const json report = fleet.Report();
  REQUIRE(report.at("rounds").size() == 20);
  for (const json& round : report.at("rounds")) CHECK(round.at("accepted") == 4);
  CHECK(ModelOf(report) == fleet.SimulatedModel(1));
}

}  // namespace
}  // namespace fl::testing
