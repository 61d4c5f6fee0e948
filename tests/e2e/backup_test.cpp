#include <doctest/doctest.h>

#include "fl/tests/e2e/fleet.h"

// A state folder that was copied takes the server's place in mid-round.
namespace fl::testing {
namespace {

namespace fs = std::filesystem;

constexpr double kStopSeconds = 10;

// Three of four updates of the round are in; the last device stands still.
void PlayToMidRound(Fleet& fleet) {
  fleet.StartServer();
  fleet.Command("pause");
  fleet.StartDevices();
  fleet.AwaitClients(Fleet::kDevices);
  fleet.device(3).Signal(SIGSTOP);
  fleet.Command("start");
  fleet.AwaitRound(1, 3);
  fleet.Command("pause");
}

// The server's folder is lost, and `copy` is put in its place.
void Restore(Fleet& fleet, const std::string& copy) {
  fs::remove_all(fleet.path("server"));
  fs::copy(fleet.path(copy), fleet.path("server"), fs::copy_options::recursive);
  fleet.StartServer();
}

void CheckGoesOn(Fleet& fleet) {
  CHECK(fleet.Status().at("round").at("accepted") == 3);
  fleet.device(3).Signal(SIGCONT);
  fleet.AwaitPublished(1);
  fleet.Command("start");
  fleet.AwaitDone();
  const nlohmann::json report = fleet.Report();
  for (const nlohmann::json& round : report.at("rounds")) CHECK(round.at("accepted") == 4);
  CHECK(ModelOf(report) == fleet.SimulatedModel(2));
}

TEST_CASE("Backup: a copy made while the server runs goes on with the same round") {
  Fleet fleet(DigitsPlan(3));
  PlayToMidRound(fleet);
  const Outcome outcome = RunProgram(
      {Program("fl-server"), "backup", fleet.path("copy"), "--state", fleet.path("server")},
      fleet.path("backup-log"));
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK(outcome.out.find(fleet.path("copy")) != std::string::npos);
  fleet.server().Kill();
  Restore(fleet, "copy");
  CheckGoesOn(fleet);
}

TEST_CASE("Backup: a folder that was copied while the server was stopped does so too") {
  Fleet fleet(DigitsPlan(3));
  PlayToMidRound(fleet);
  fleet.server().Signal(SIGTERM);
  REQUIRE(fleet.server().Wait(kStopSeconds) == 0);
  fs::copy(fleet.path("server"), fleet.path("copy"), fs::copy_options::recursive);
  Restore(fleet, "copy");
  CheckGoesOn(fleet);
}

}  // namespace
}  // namespace fl::testing
