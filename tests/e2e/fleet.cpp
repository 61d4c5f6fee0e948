#include "fl/tests/e2e/fleet.h"

namespace fl::testing {
namespace {

namespace fs = std::filesystem;

// Far more than any step takes, also under a sanitizer on a busy machine.
constexpr double kPatience = 90;

void RequireSuccess(const Outcome& outcome) {
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
}

}  // namespace

std::string DigitsPlan(int rounds) {
  return R"(name = "digits"
seed = 3
[model]
input = [64]
layers = ["dense 16", "relu", "dense 10"]
[data]
label = "label"
ignore = ["split"]
normalize = "standard"
mean = [5.0]
scale = [6.0]
holdout = 0.2
[training]
epochs = 1
batch_size = 16
learning_rate = 0.1
[rounds]
count = )" +
         std::to_string(rounds) + R"(
population_min = 4
goal = 4
min_report = 4
deadline_s = 300
wait_s = 1
[[compression.recipe]]
tensors = "*"
recipe = "quantize 4"
[deployment]
version = 1
drop_points_max = 20.0
[[deployment.pass]]
pass = "ptq_static"
[[deployment.pass]]
pass = "verify"
[simulation]
devices = 4
data = "csv:)" FL_TEST_SOURCE_DIR R"(/data/small-tables/digits8x8.csv.gz?split=train"
partition = "dirichlet"
alpha = 1.0
)";
}

std::string ModelOf(const nlohmann::json& report) {
  return report.at("final").at("model_sha256").get<std::string>();
}

Fleet::Fleet(const std::string& plan) {
  WriteText(plan_path(), plan);
  RequireSuccess(RunProgram({Program("fl-pki"), "init", path("authority")}, path("init")));
  Issue("server", {"--role", "server", "--host", "127.0.0.1"});
  Issue("operator", {"--role", "admin"});
  for (std::size_t i = 0; i < kDevices; ++i) Issue(DeviceName(i));
  RequireSuccess(RunProgram({Program("fl-sim"), "split", plan_path(), "--out", path("data")},
                            path("split"), kPatience));
}

void Fleet::Issue(const std::string& name, const std::vector<std::string>& options) {
  std::vector<std::string> call = {Program("fl-pki"),  "issue", path("authority"), name, "--out",
                                   path("pki/" + name)};
  call.insert(call.end(), options.begin(), options.end());
  RequireSuccess(RunProgram(call, path("issue")));
}

std::vector<std::string> Fleet::ServerCall() const {
  std::vector<std::string> call = {Program("fl-server"),
                                   "run",
                                   plan_path(),
                                   "--state",
                                   path("server"),
                                   "--pki",
                                   path("pki/server"),
                                   "--listen",
                                   address_.empty() ? "127.0.0.1:0" : address_};
  call.insert(call.end(), server_options_.begin(), server_options_.end());
  return call;
}

std::vector<std::string> Fleet::DeviceCall(std::size_t index) const {
  return {Program("fl-client"),
          "run",
          "--until-done",
          "--log-level",
          "info",
          "--server",
          address_,
          "--pki",
          path("pki/" + DeviceName(index)),
          "--data",
          path("data/" + DeviceName(index)),
          "--state",
          device_state(index)};
}

void Fleet::StartServer() {
  const fs::path written = path("server/address");
  fs::remove(written);
  server_ = std::make_unique<Process>(ServerCall(), path("server-log"));
  const bool listens =
      Eventually(kPatience, [&] { return fs::exists(written) || !server_->Runs(); });
  INFO(server_->err());
  REQUIRE(listens);
  REQUIRE(fs::exists(written));
  address_ = ReadText(written);
}

void Fleet::ForgetServer() {
  server_.reset();
  fs::remove_all(path("server"));
}

void Fleet::StartDevice(std::size_t index) {
  devices_[index] = std::make_unique<Process>(DeviceCall(index), path(DeviceName(index) + "-log"));
}

void Fleet::StartDevices() {
  for (std::size_t i = 0; i < kDevices; ++i) StartDevice(i);
}

nlohmann::json Fleet::Ask(const std::string& what) {
  const Outcome answer = RunProgram(
      {Program("fl-server"), what, "--json", "--server", address_, "--pki", path("pki/operator")},
      path("ask"), kPatience);
  RequireSuccess(answer);
  return nlohmann::json::parse(answer.out);
}

void Fleet::AwaitStatus(const std::function<bool(const nlohmann::json&)>& holds) {
  nlohmann::json status;
  const bool held = Eventually(kPatience, [&] { return holds(status = Status()); });
  INFO(status.dump());
  REQUIRE(held);
}

void Fleet::AwaitClients(int count) {
  AwaitStatus([&](const nlohmann::json& status) { return status.at("clients") == count; });
}

void Fleet::AwaitRound(int number, int accepted) {
  AwaitStatus([&](const nlohmann::json& status) {
    const nlohmann::json& round = status.at("round");
    return round.is_object() && round.at("number").get<int>() >= number &&
           round.at("accepted").get<int>() == accepted && round.at("state") == "collecting";
  });
}

void Fleet::AwaitPublished(int rounds) {
  AwaitStatus(
      [&](const nlohmann::json& status) { return status.at("published").get<int>() >= rounds; });
}

void Fleet::AwaitDone() {
  for (std::size_t i = 0; i < kDevices; ++i) {
    const auto status = device(i).Wait(kPatience);
    INFO(DeviceName(i), ": ", device(i).err());
    REQUIRE(status == 0);
  }
  CHECK(Status().at("state") == "done");
}

nlohmann::json Fleet::SimulatedReport(int threads) {
  const std::string name = "simulation-" + std::to_string(threads);
  const Outcome outcome = RunProgram({Program("fl-sim"), "run", plan_path(), "--threads",
                                      std::to_string(threads), "--json", "--out", path(name)},
                                     path(name + "-log"), kPatience);
  RequireSuccess(outcome);
  return nlohmann::json::parse(outcome.out);
}

std::string Fleet::SimulatedModel(int threads) {
  return ModelOf(SimulatedReport(threads));
}

}  // namespace fl::testing
