#include <doctest/doctest.h>

#include "fl/tests/e2e/fleet.h"

namespace fl::testing {
namespace {

using nlohmann::json;

constexpr double kStopSeconds = 5;

Outcome OnDevice(const Fleet& fleet, const std::string& command, std::vector<std::string> options) {
  std::vector<std::string> call = {Program("fl-client"), command, "--state", fleet.device_state(0)};
  call.insert(call.end(), options.begin(), options.end());
  return RunProgram(call, fleet.path(command));
}

json PredictTen(const Fleet& fleet) {
  const Outcome outcome =
      OnDevice(fleet, "predict", {"--json", "--data", fleet.path("data/" + Fleet::DeviceName(0))});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  return json::parse(outcome.out);
}

TEST_CASE("Federation: real programs compute the model of the simulation") {
  Fleet fleet(DigitsPlan(12));
  fleet.StartServer();
  fleet.StartDevices();
  fleet.AwaitDone();

  const json report = fleet.Report();
  CHECK(ModelOf(report) == fleet.SimulatedModel(1));
  CHECK(ModelOf(report) == fleet.SimulatedModel(4));
  REQUIRE(report.at("rounds").size() == 12);
  for (const json& round : report.at("rounds")) CHECK(round.at("accepted") == 4);

  const json& totals = report.at("totals");
  CHECK(totals.at("accepted") == 48);
  const int heads = totals.at("bytes_up").get<int>() - totals.at("body_bytes_up").get<int>();
  CHECK(heads / 48 <= 350);

  REQUIRE(report.at("deployment").size() == Fleet::kDevices);
  for (const json& device : report.at("deployment")) CHECK(device.at("installed") == true);
  const json info = json::parse(OnDevice(fleet, "info", {"--json"}).out);
  CHECK(info.at("trained") == 12);
  CHECK(info.at("training_seconds") > 0);
  CHECK(info.at("upload_bytes_per_second") > 0);
  const json predictions = PredictTen(fleet);
  REQUIRE(predictions.size() == 10);
  int right = 0;
  for (const json& sample : predictions) {
    right += sample.at("predicted") == sample.at("label") ? 1 : 0;
  }
  CHECK(right >= 7);
}

TEST_CASE("Federation: real devices find the ranges of the simulation together") {
  std::string plan = DigitsPlan(3);
  const std::string pass = "pass = \"ptq_static\"\n";
  plan.insert(plan.find(pass) + pass.size(), "ranges = \"federation\"\n");
  Fleet fleet(plan);
  fleet.StartServer();
  fleet.StartDevices();
  fleet.AwaitDone();
  const json report = fleet.Report();
  CHECK(report.at("calibration").at("devices") == Fleet::kDevices);
  CHECK(report.at("calibration").at("ranges_sha256").is_string());
  CHECK(report.at("calibration") == fleet.SimulatedReport(2).at("calibration"));
  CHECK(report.at("deployment").size() == Fleet::kDevices);
  for (std::size_t i = 0; i < Fleet::kDevices; ++i) {
    CHECK(fleet.device(i).err().find("over the federation's ranges") != std::string::npos);
    CHECK(fleet.device(i).err().find("calibrated: values of 4 nodes counted") != std::string::npos);
  }
}

TEST_CASE("Federation: a device goes back to the local model before the last") {
  Fleet fleet(DigitsPlan(4));
  fleet.StartServer();
  fleet.StartDevices();
  fleet.AwaitDone();
  const json first = PredictTen(fleet);
  const Outcome too_early = OnDevice(fleet, "rollback", {});
  CHECK(too_early.status == 2);
  CHECK(PredictTen(fleet) == first);

  // The federation runs once more, longer, and each device installs the model that comes of it.
  fleet.ForgetServer();
  WriteText(fleet.plan_path(), DigitsPlan(8));
  fleet.StartServer();
  fleet.StartDevices();
  fleet.AwaitDone();
  const json second = PredictTen(fleet);
  CHECK(second != first);
  const Outcome rollback = OnDevice(fleet, "rollback", {});
  INFO(rollback.err);
  CHECK(rollback.status == 0);
  CHECK(PredictTen(fleet) == first);
}

constexpr const char* kLattice = "[aggregation]\npublish = \"lattice\"\nreleased = \"average\"\n";

TEST_CASE("Federation: a server killed twice in mid-round goes on to the same model") {
  std::string aggregation;
  SUBCASE("that it published") {
    aggregation = "";
  }
  SUBCASE("that it averaged from points of a lattice") {
    aggregation = kLattice;
  }
  Fleet fleet(DigitsPlan(8) + aggregation);
  fleet.StartServer();
  fleet.Command("pause");
  fleet.StartDevices();
  fleet.AwaitClients(Fleet::kDevices);
  for (const int round : {1, 2}) {
    // Without the last device the round stays open with three updates accepted.
    fleet.device(3).Signal(SIGSTOP);
    fleet.Command("start");
    fleet.AwaitRound(round, 3);
    fleet.Command("pause");
    fleet.server().Kill();
    fleet.StartServer();
    CHECK(fleet.Status().at("round").at("accepted") == 3);
    fleet.device(3).Signal(SIGCONT);
    fleet.AwaitPublished(round);
  }
  fleet.Command("start");
  fleet.AwaitDone();
  const json report = fleet.Report();
  REQUIRE(report.at("rounds").size() == 8);
  for (const json& round : report.at("rounds")) CHECK(round.at("accepted") == 4);
  CHECK(ModelOf(report) == fleet.SimulatedModel(1));
  for (const json& device : report.at("deployment")) CHECK(device.at("installed") == true);
}

TEST_CASE("Federation: a device killed in mid-run goes on to the same model") {
  Fleet fleet(DigitsPlan(40));
  fleet.StartServer();
  fleet.StartDevices();
  for (const int round : {1, 8}) {
    fleet.AwaitPublished(round);
    fleet.device(1).Kill();
    fleet.AwaitRound(round, 3);
    fleet.StartDevice(1);
  }
  fleet.AwaitDone();
  const json report = fleet.Report();
  for (const json& round : report.at("rounds")) CHECK(round.at("accepted") == 4);
  CHECK(ModelOf(report) == fleet.SimulatedModel(1));
}

TEST_CASE("Federation: SIGTERM in mid-round ends each program with status 0") {
  Fleet fleet(DigitsPlan(1000));
  fleet.StartServer();
  fleet.StartDevices();
  fleet.AwaitPublished(1);
  fleet.server().Signal(SIGTERM);
  for (std::size_t i = 0; i < Fleet::kDevices; ++i) fleet.device(i).Signal(SIGTERM);
  CHECK(fleet.server().Wait(kStopSeconds) == 0);
  for (std::size_t i = 0; i < Fleet::kDevices; ++i) {
    CHECK(fleet.device(i).Wait(kStopSeconds) == 0);
  }
}

}  // namespace
}  // namespace fl::testing
