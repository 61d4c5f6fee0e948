#include <algorithm>

#include <doctest/doctest.h>

#include "fl/tests/e2e/fleet.h"

namespace fl::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kFailed = 1;
constexpr int kWrongCall = 2;

// The call ends with the status, and says why in one line that holds each of `parts`.
void CheckComplaint(const Outcome& outcome, int status, const std::vector<std::string>& parts) {
  CAPTURE(outcome.err);
  CHECK(outcome.status == status);
  CHECK(outcome.out.empty());
  CHECK(std::ranges::count(outcome.err, '\n') == 1);
  CHECK(outcome.err.ends_with('\n'));
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(outcome.err.find(part) != std::string::npos);
  }
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

// `call` with another value after `option`.
std::vector<std::string> With(std::vector<std::string> call, const std::string& option,
                              const std::string& value) {
  const auto at = std::ranges::find(call, option);
  REQUIRE(at != call.end());
  at[1] = value;
  return call;
}

Outcome Run(const Fleet& fleet, const std::vector<std::string>& call) {
  return RunProgram(call, fleet.path("outcome"));
}

std::vector<std::string> SimulationCall(const Fleet& fleet) {
  return {Program("fl-sim"), "run", fleet.plan_path(), "--out", fleet.path("simulation")};
}

TEST_CASE("Bad input: an unknown flag names itself and the help") {
  const TemporaryFolder folder;
  const std::string ca = (folder.path() / "ca").string();
  const std::vector<std::vector<std::string>> calls = {
      {"fl-server", "status", "--server", "localhost:1", "--pki", ca},
      {"fl-client", "info", "--state", ca},
      {"fl-sim", "split", "plan.toml", "--out", ca},
      {"fl-pki", "init", ca}};
  for (std::vector<std::string> call : calls) {
    const std::string name = call.front();
    call.front() = Program(name);
    call.emplace_back("--fast");
    CheckComplaint(RunProgram(call, folder.path() / "outcome"), kWrongCall,
                   {name + ": ", "--fast", "see " + name + " --help"});
  }
  CHECK_FALSE(fs::exists(ca));
}

TEST_CASE("Bad input: a plan that cannot be used names the place") {
  Fleet fleet(DigitsPlan(4));
  const std::string plan = DigitsPlan(4);
  WriteText(fleet.plan_path(), Replaced(plan, "learning_rate", "learning_rat"));
  for (const auto& call : {fleet.ServerCall(), SimulationCall(fleet)}) {
    CheckComplaint(Run(fleet, call), kWrongCall,
                   {"plan.toml:16:1: ", "unknown key", "learning_rat", "known here"});
  }
  WriteText(fleet.plan_path(), "\x80\x02}q\x01(X\x05");
  for (const auto& call : {fleet.ServerCall(), SimulationCall(fleet)}) {
    CheckComplaint(Run(fleet, call), kWrongCall, {"plan.toml:1:1: ", "not valid TOML"});
  }
  fs::remove(fleet.plan_path());
  for (const auto& call : {fleet.ServerCall(), SimulationCall(fleet)}) {
    CheckComplaint(Run(fleet, call), kWrongCall, {"plan.toml", "No such file"});
  }
  CHECK_FALSE(fs::exists(fleet.path("server")));
}

TEST_CASE("Bad input: data that are missing or cut short name the file") {
  Fleet fleet(DigitsPlan(4));
  const std::string table = "digits8x8.csv.gz";
  const std::string source = FL_TEST_SOURCE_DIR "/data/small-tables/" + table;
  const std::string missing = fleet.path("missing.csv.gz");
  const std::string cut = fleet.path("cut.csv.gz");
  WriteText(cut, ReadText(source).substr(0, 20'000));
  WriteText(fleet.plan_path(), Replaced(DigitsPlan(4), source, missing));
  CheckComplaint(Run(fleet, SimulationCall(fleet)), kWrongCall, {missing, "No such file"});
  WriteText(fleet.plan_path(), Replaced(DigitsPlan(4), source, cut));
  CheckComplaint(Run(fleet, SimulationCall(fleet)), kWrongCall, {cut, "cut short"});
  WriteText(fleet.plan_path(), DigitsPlan(4));

  fleet.StartServer();
  CheckComplaint(Run(fleet, With(fleet.DeviceCall(0), "--data", missing)), kWrongCall,
                 {"fl-client: --data: ", missing, "No such file"});
  // Whether a device's data fit is known when it is asked to train. Afterwards it can go on.
  for (std::size_t i = 1; i < Fleet::kDevices; ++i) fleet.StartDevice(i);
  Process device(With(With(fleet.DeviceCall(0), "--data", cut), "--log-level", "off"),
                 fleet.path("outcome"));
  const auto status = device.Wait(60);
  CheckComplaint({status, device.out(), device.err()}, kFailed, {cut, "cut short"});
  fleet.StartDevice(0);
  fleet.AwaitDone();
  CHECK(ModelOf(fleet.Report()) == fleet.SimulatedModel(2));
}

TEST_CASE("Bad input: a certificate of another authority is refused on both sides") {
  Fleet fleet(DigitsPlan(4));
  const std::string other = fleet.path("other");
  REQUIRE(Run(fleet, {Program("fl-pki"), "init", fleet.path("other-ca")}).status == 0);
  REQUIRE(Run(fleet,
              {Program("fl-pki"), "issue", fleet.path("other-ca"), "device-0000", "--out", other})
              .status == 0);
  fleet.StartServer();
  const std::vector<std::string> call = With(fleet.DeviceCall(0), "--pki", other);
  CheckComplaint(Run(fleet, call), kFailed,
                 {"fl-client: ", fleet.address(), "certificate", "self-signed"});
  // It trusts the server now, which does not trust it.
  fs::copy_file(fleet.path("pki/server/ca.crt"), other + "/ca.crt",
                fs::copy_options::overwrite_existing);
  CheckComplaint(Run(fleet, call), kFailed,
                 {"fl-client: ", fleet.address(), "refuses our certificate", "unknown ca"});
  CHECK(fleet.Status().at("clients") == 0);
}

TEST_CASE("Bad input: a device that is revoked while it waits is put out, the others are not") {
  Fleet fleet(DigitsPlan(4));
  fleet.StartServer();
  fleet.StartDevice(0);
  fleet.StartDevice(1);
  fleet.AwaitClients(2);
  REQUIRE(
      Run(fleet, {Program("fl-pki"), "revoke", fleet.path("authority"), "device-0000"}).status ==
      0);
  const fs::path list = fleet.path("pki/server/revoked.crl");
  fs::copy_file(fleet.path("authority/revoked.crl"), list, fs::copy_options::overwrite_existing);
  // Its check-in is held for up to 30 s: it ends sooner because its connection is closed.
  const auto begin = std::chrono::steady_clock::now();
  CHECK(fleet.device(0).Wait(10) == kFailed);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  MESSAGE("put out after ", took.count(), " s");
  // "sslv3 alert ..." in OpenSSL 3.0, "ssl/tls alert ..." in later ones.
  const std::string said = fleet.device(0).err();
  const std::size_t refused = said.find("refuses our certificate: ");
  REQUIRE(refused != std::string::npos);
  CHECK(said.find("alert certificate revoked", refused) != std::string::npos);
  CHECK(fleet.device(1).Runs());
  CHECK(fleet.server().err().find("the new revocation list is in force") != std::string::npos);
}

TEST_CASE("Bad input: an operator sees who was refused and can lift only what there is") {
  Fleet fleet(DigitsPlan(4));
  fleet.StartServer();
  const std::vector<std::string> rest = {"--server", fleet.address(), "--pki",
                                         fleet.path("pki/operator")};
  const auto ask = [&](std::vector<std::string> call) {
    call.insert(call.begin(), Program("fl-server"));
    call.insert(call.end(), rest.begin(), rest.end());
    return Run(fleet, call);
  };
  const Outcome refusals = ask({"refusals", "--json"});
  CHECK(refusals.status == 0);
  CHECK(nlohmann::json::parse(refusals.out) ==
        nlohmann::json(
            {{"refusals", nlohmann::json::array()}, {"offenders", nlohmann::json::array()}}));
  CheckComplaint(ask({"allow", "device-0000"}), kFailed, {"device-0000", "held off or denied"});
  CheckComplaint(ask({"allow", "x&federation=y"}), kWrongCall, {"client: name: expected", "x&fed"});
}

TEST_CASE("Bad input: a certificate of another role is refused") {
  Fleet fleet(DigitsPlan(4));
  fleet.StartServer();
  CheckComplaint(Run(fleet, {Program("fl-server"), "status", "--server", fleet.address(), "--pki",
                             fleet.path("pki/device-0000")}),
                 kFailed, {"expected an admin's certificate", "spiffe://fl/fleet/device-0000"});
  CheckComplaint(Run(fleet, With(With(fleet.DeviceCall(0), "--pki", fleet.path("pki/operator")),
                                 "--log-level", "off")),
                 kFailed, {"expected a client's certificate", "spiffe://fl/admin/operator"});
  CHECK(fleet.Status().at("clients") == 0);
}

TEST_CASE("Bad input: a key that others can read is refused with the remedy") {
  Fleet fleet(DigitsPlan(4));
  fleet.StartServer();
  const fs::path key = fleet.path("pki/device-0000/client.key");
  fs::permissions(key, fs::perms::group_read | fs::perms::others_read, fs::perm_options::add);
  CheckComplaint(Run(fleet, fleet.DeviceCall(0)), kFailed,
                 {"client.key: expected mode 0600, found 0644", "chmod 600 " + key.string()});
}

TEST_CASE("Bad input: a state folder of another plan stays as it is") {
  Fleet fleet(DigitsPlan(4));
  fleet.StartServer();
  fleet.StartDevices();
  fleet.AwaitDone();
  const std::string model = ModelOf(fleet.Report());
  fleet.server().Signal(SIGTERM);
  REQUIRE(fleet.server().Wait(10) == 0);

  WriteText(fleet.plan_path(), Replaced(DigitsPlan(4), "seed = 3", "seed = 4"));
  CheckComplaint(Run(fleet, fleet.ServerCall()), kFailed,
                 {"digits", "the state is of another plan", "another state folder"});
  WriteText(fleet.plan_path(), Replaced(DigitsPlan(4), "\"digits\"", "\"letters\""));
  CheckComplaint(Run(fleet, fleet.ServerCall()), kFailed,
                 {fleet.path("server"), "holds the federation digits", "another --state"});
  WriteText(fleet.plan_path(), DigitsPlan(4));
  fleet.StartServer();
  CHECK(ModelOf(fleet.Report()) == model);
}

TEST_CASE("Bad input: a state folder or a port that is in use is left to its owner") {
  Fleet fleet(DigitsPlan(4));
  fleet.StartServer();
  CheckComplaint(
      Run(fleet, With(fleet.ServerCall(), "--listen", "127.0.0.1:0")), kFailed,
      {fleet.path("server"), "in use by process " + std::to_string(fleet.server().id())});
  CheckComplaint(Run(fleet, With(fleet.ServerCall(), "--state", fleet.path("second"))), kFailed,
                 {fleet.address(), "expected a free address"});
  fleet.StartDevice(0);
  fleet.AwaitClients(1);
  CheckComplaint(
      Run(fleet, fleet.DeviceCall(0)), kFailed,
      {fleet.device_state(0), "in use by process " + std::to_string(fleet.device(0).id())});
  CHECK(fleet.Status().at("clients") == 1);
}

TEST_CASE("Bad input: a device waits for a server that is down and ends when it is told to") {
  Fleet fleet(DigitsPlan(4));
  fleet.StartServer();
  fleet.server().Kill();
  fleet.StartDevice(0);
  Process& device = fleet.device(0);
  const auto tries = [&] {
    const std::string text = device.err();
    return std::ranges::count(text, '\n');
  };
  REQUIRE(Eventually(60, [&] { return tries() >= 2; }));
  CHECK(device.Runs());
  CHECK(device.err().find(fleet.address() + ": connecting: Connection refused; tries again in") !=
        std::string::npos);
  device.Signal(SIGTERM);
  CHECK(device.Wait(10) == 0);
}

}  // namespace
}  // namespace fl::testing
