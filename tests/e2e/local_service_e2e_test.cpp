#include <atomic>
#include <map>
#include <thread>

#include <doctest/doctest.h>

#include "fl/client/deploy/installed_store.h"
#include "fl/common/crypto/sha256.h"
#include "fl/tests/client/serve/small_models.h"
#include "fl/tests/e2e/fleet.h"
#include "fl/tests/support/local_http.h"
#include "fl/tests/support/result.h"

namespace fl::testing {
namespace {

using client::InstalledStore;
using client::testing::SmallModelFile;
using nlohmann::json;

constexpr double kPatience = 60;
constexpr double kStopSeconds = 5;

// A state folder with a local model and `fl-client serve` over it.
class Served {
 public:
  explicit Served(std::vector<std::string> options = {}) : options_(std::move(options)) {
    std::filesystem::create_directories(path("state/local"));
    REQUIRE(store().Install(SmallModelFile(0)));
    REQUIRE(store().Install(SmallModelFile(1)));
    Start();
  }

  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  InstalledStore store() const { return InstalledStore(folder_.path() / "state/local"); }
  Process& process() { return *process_; }
  std::string address() const { return ReadText(path("state/serve-address")); }

  Outcome Client(const std::string& command, std::vector<std::string> options = {}) const {
    std::vector<std::string> call = {Program("fl-client"), command, "--state", path("state")};
    call.insert(call.end(), options.begin(), options.end());
    return RunProgram(call, path(command));
  }

  LocalHttp Connect() const {
    const std::string text = address();
    if (text.starts_with("unix:")) return LocalHttp::ToPath(text.substr(5));
    const int port = std::atoi(text.c_str() + text.rfind(':') + 1);
    return LocalHttp::ToPort(static_cast<std::uint16_t>(port));
  }

 private:
  void Start() {
    std::vector<std::string> call = {Program("fl-client"), "serve", "--state", path("state")};
    call.insert(call.end(), options_.begin(), options_.end());
    process_ = std::make_unique<Process>(call, path("serve-log"));
    const bool listens = Eventually(kPatience, [&] {
      return std::filesystem::exists(path("state/serve-address")) || !process_->Runs();
    });
    INFO(process_->err());
    REQUIRE(listens);
    REQUIRE(process_->Runs());
  }

  TemporaryFolder folder_;
  std::vector<std::string> options_;
  std::unique_ptr<Process> process_;
};

constexpr const char* kZeros = R"({"sample":[0,0,0,0]})";

json Ask(const LocalHttp& http) {
  const HttpAnswer answer = http.Ask("POST", "/predict", kZeros);
  REQUIRE(answer.status == 200);
  return json::parse(answer.body);
}

TEST_CASE("Serve: a Unix socket in the state folder answers, and SIGTERM ends it with status 0") {
  Served served;
  REQUIRE(served.address() == "unix:" + served.path("state/serve.sock"));
  const LocalHttp http = served.Connect();
  CHECK(http.Ask("GET", "/health").status == 200);
  CHECK(Ask(http).at("predictions")[0].at("label") == "bee");
  CHECK(json::parse(http.Ask("GET", "/model").body).at("name") == "insects");
  CHECK(http.Ask("POST", "/predict", "{").status == 400);
  CHECK(http.Ask("POST", "/predict", std::string((1U << 20) + 5000, ' ')).status == 413);
  served.process().Signal(SIGTERM);
  CHECK(served.process().Wait(kStopSeconds) == 0);
  CHECK_FALSE(std::filesystem::exists(served.path("state/serve.sock")));
}

TEST_CASE("Serve: a socket and a port serve the same model") {
  Served served(
      {"--listen", "127.0.0.1:0", "--socket", "/tmp/fl-serve-test-" + std::to_string(::getpid())});
  CHECK(served.address().starts_with("127.0.0.1:"));
  const LocalHttp by_path = LocalHttp::ToPath("/tmp/fl-serve-test-" + std::to_string(::getpid()));
  REQUIRE(by_path.connected());
  CHECK(Ask(served.Connect()) == Ask(by_path));
}

TEST_CASE("Serve: what is wrong with the call is said, with status 2") {
  Served served;
  const auto second = served.Client("serve");
  CHECK(second.status == 1);
  CHECK(second.err.find("in use by process") != std::string::npos);
  const std::string other = served.path("other");
  std::filesystem::create_directories(other);
  for (const char* address : {"0.0.0.0:0", "[::]:0", "192.0.2.7:80", "localhost", "127.0.0.1:x"}) {
    CAPTURE(address);
    const Outcome outcome = RunProgram(
        {Program("fl-client"), "serve", "--state", other, "--listen", address}, served.path("bad"));
    CHECK(outcome.status == 2);
    CHECK(outcome.err.find("loopback") != std::string::npos);
  }
  const Outcome nowhere = RunProgram(
      {Program("fl-client"), "serve", "--state", served.path("nowhere")}, served.path("bad"));
  CHECK(nowhere.status == 2);
}

TEST_CASE("Serve: installs and rollbacks of other processes are served under load") {
  Served served({"--listen", "127.0.0.1:0"});
  std::map<std::string, int> class_of;
  for (int i = 0; i < 3; ++i) {
    class_of[crypto::Sha256(SmallModelFile(static_cast<std::size_t>(i))).ToHex()] = i;
  }
  std::atomic<bool> stop = false;
  std::atomic<int> right = 0;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> askers;
  askers.reserve(2);
  for (int i = 0; i < 2; ++i) {
    askers.emplace_back([&] {
      const LocalHttp http = served.Connect();
      while (!stop) {
        const HttpAnswer answer = http.Ask("POST", "/predict", kZeros);
        const json parsed = json::parse(answer.body, nullptr, false);
        const bool is_right =
            answer.status == 200 && parsed.at("predictions")[0].at("class") ==
                                        class_of.at(parsed.at("model_sha256").get<std::string>());
        ++(is_right ? right : wrong);
      }
    });
  }
  const LocalHttp http = served.Connect();
  const auto serves = [&](std::size_t model) {
    const std::string wanted = crypto::Sha256(SmallModelFile(model)).ToHex();
    return Eventually(kPatience, [&] {
      return json::parse(http.Ask("GET", "/health").body).at("model_sha256") == wanted;
    });
  };
  CHECK(serves(1));
  CHECK(served.Client("rollback").status == 0);
  CHECK(serves(0));
  REQUIRE(served.store().Install(SmallModelFile(2)));
  CHECK(serves(2));
  CHECK(served.Client("rollback").status == 0);
  CHECK(serves(0));

  // A damaged file is not served, and one line says why.
  WriteText(served.path("state/local/damaged"), "garbage");
  std::filesystem::rename(served.path("state/local/damaged"),
                          served.path("state/local/local.safetensors"));
  CHECK(Eventually(kPatience, [&] {
    return served.process().err().find("cannot serve the model") != std::string::npos;
  }));
  CHECK(serves(0));
  stop = true;
  for (std::thread& asker : askers) asker.join();
  CHECK(wrong == 0);
  CHECK(right > 0);
  const std::string log = served.process().err();
  CHECK(log.find("cannot serve", log.find("cannot serve") + 1) == std::string::npos);
  served.process().Signal(SIGTERM);
  CHECK(served.process().Wait(kStopSeconds) == 0);
}

TEST_CASE("Serve: the model that a federation deploys is served with its card and its drift") {
  std::string plan = DigitsPlan(4);
  plan.insert(plan.find("drop_points_max"), "drift_max = 0.25\n");
  Fleet fleet(plan);
  fleet.StartServer();
  fleet.StartDevices();
  fleet.AwaitDone();
  const std::string state = fleet.device_state(0);
  Process process({Program("fl-client"), "serve", "--state", state}, fleet.path("serve"));
  REQUIRE(Eventually(kPatience, [&] { return std::filesystem::exists(state + "/serve-address"); }));
  const LocalHttp http = LocalHttp::ToPath(state + "/serve.sock");
  const json card = json::parse(http.Ask("GET", "/model").body);
  CHECK(card.at("name") == "digits");
  CHECK(card.at("precision") == "int8");
  CHECK(card.at("accuracy").get<double>() > 0.3);
  CHECK(card.at("model_version") == 4);
  CHECK_FALSE(card.at("notes").contains("drift_reference"));

  // 250 samples that are nothing like digits.
  std::string sample = "[16";
  for (int i = 1; i < 64; ++i) sample += ",16";
  std::string body = "{\"samples\":[" + sample + "]";
  for (int i = 1; i < 250; ++i) body += "," + sample + "]";
  REQUIRE(http.Ask("POST", "/predict", body + "]}").status == 200);
  process.Signal(SIGTERM);
  CHECK(process.Wait(kStopSeconds) == 0);
  const Outcome info =
      RunProgram({Program("fl-client"), "info", "--json", "--state", state}, fleet.path("info"));
  const json drift = json::parse(info.out).at("served");
  CHECK(drift.at("samples") == 250);
  CHECK(drift.at("model_sha256") == card.at("model_sha256"));
  CHECK(drift.at("drift").get<double>() > 0.25);

  // The device answers by itself, and goes on.
  std::vector<std::string> call = fleet.DeviceCall(0);
  std::erase(call, "--until-done");
  Process device(call, fleet.path("again"));
  CHECK(Eventually(kPatience, [&] {
    return ReadText(state + "/activity.jsonl").find("\"detail\":\"drift ") != std::string::npos;
  }));
  device.Signal(SIGTERM);
  CHECK(device.Wait(kStopSeconds) == 0);
  CHECK(fleet.Report().at("totals").at("accepted") == 16);
}

}  // namespace
}  // namespace fl::testing
