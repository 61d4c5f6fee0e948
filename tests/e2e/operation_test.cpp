#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <sstream>

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "fl/tests/e2e/fleet.h"
#include "fl/tests/support/local_http.h"

// What an operator and the machine's own programs see of a running server.
namespace fl::testing {
namespace {

constexpr double kPatience = 90;
constexpr double kStopSeconds = 10;

// systemd's end of NOTIFY_SOCKET, for programs that are started while it lives.
class ServiceManager {
 public:
  explicit ServiceManager(const std::string& path)
      : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof(address.sun_path));
    std::memcpy(address.sun_path, path.data(), path.size());
    REQUIRE(::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    const timeval patience{60, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    // This program has one thread. NOLINTNEXTLINE(concurrency-mt-unsafe)
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;
  ~ServiceManager() {
    // NOLINTNEXTLINE(concurrency-mt-unsafe)
    ::unsetenv("NOTIFY_SOCKET");
    ::close(socket_);
  }
  // The next message; empty when none comes.
  std::string Receive() const {
    char buffer[1024];
    const auto count = ::recv(socket_, buffer, sizeof(buffer), 0);
    return {buffer, static_cast<std::size_t>(count < 0 ? 0 : count)};
  }

 private:
  int socket_;
};

std::vector<std::string> WithMetrics(const Fleet& fleet, const std::string& where) {
  std::vector<std::string> call = fleet.ServerCall();
  call.insert(call.end(), {"--metrics", where});
  return call;
}

TEST_CASE("Operation: a service manager is told, and monitoring is answered without certificates") {
  Fleet fleet(DigitsPlan(2));
  const ServiceManager manager(fleet.path("notify"));
  Process server(WithMetrics(fleet, "127.0.0.1:0"), fleet.path("log"));
  const std::string ready = manager.Receive();
  CHECK(ready == "READY=1\nSTATUS=listening on " + ReadText(fleet.path("server/address")));
  const std::string address = ReadText(fleet.path("server/metrics-address"));
  const int port = std::atoi(address.c_str() + address.rfind(':') + 1);
  const LocalHttp http = LocalHttp::ToPort(static_cast<std::uint16_t>(port));
  REQUIRE(http.connected());
  CHECK(http.Ask("GET", "/healthz").status == 200);
  CHECK(http.Ask("GET", "/readyz").status == 200);
  const HttpAnswer metrics = http.Ask("GET", "/metrics");
  CHECK(metrics.status == 200);
  CHECK(metrics.head.find("Content-Type: text/plain; version=0.0.4") != std::string::npos);
  CHECK(metrics.body.find("\nfl_open_connections 0\n") != std::string::npos);
  CHECK(metrics.body.find("\nfl_model_version{federation=\"digits\"} 0\n") != std::string::npos);
  CHECK(http.Ask("POST", "/metrics").status == 405);
  server.Signal(SIGTERM);
  CHECK(server.Wait(kStopSeconds) == 0);
  CHECK(manager.Receive() == "STOPPING=1");
}

TEST_CASE("Operation: figures without TLS stay on the machine") {
  Fleet fleet(DigitsPlan(2));
  const Outcome outcome = RunProgram(WithMetrics(fleet, "0.0.0.0:0"), fleet.path("log"), kPatience);
  CHECK(outcome.status == 2);
  CHECK(outcome.err.find("--metrics: 0.0.0.0:0: without TLS expected a loopback address") !=
        std::string::npos);
}

// (round, state) of each line of a JSON log about a round, whose fields are those of
// docs/operations.md.
std::vector<std::pair<int, std::string>> RoundsInLog(const std::string& log) {
  std::vector<std::pair<int, std::string>> rounds;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    CAPTURE(line);
    const nlohmann::json json = nlohmann::json::parse(line);
    CHECK(json.at("time").is_string());
    CHECK(json.at("level") == "info");
    CHECK(json.at("message").is_string());
    if (json.value("event", "") != "round") continue;
    const auto state = json.at("state").get<std::string>();
    CHECK(json.at("federation") == "digits");
    CHECK(json.at("cohort") == (state == "selecting" ? 0 : 4));
    CHECK(json.at("accepted").is_number_unsigned());
    if (state == "published") {
      CHECK(json.at("version") == json.at("round"));
      CHECK(json.at("seconds").get<double>() > 0);
    }
    rounds.emplace_back(json.at("round").get<int>(), state);
  }
  return rounds;
}

TEST_CASE("Operation: status --watch and the log follow a federation to its end") {
  Fleet fleet(DigitsPlan(2));
  fleet.PassToServer({"--log-format", "json"});
  fleet.StartServer();
  Process watch({Program("fl-server"), "status", "--watch", "--server", fleet.address(), "--pki",
                 fleet.path("pki/operator")},
                fleet.path("watch"));
  REQUIRE(Eventually(kPatience, [&] { return !watch.out().empty(); }));
  CHECK(watch.out().find(" digits: running, 0 of 2 rounds published, 0 devices known") !=
        std::string::npos);
  fleet.StartDevices();
  fleet.AwaitDone();
  CHECK(watch.Wait(kPatience) == 0);
  const std::string out = watch.out();
  const std::string last = out.substr(out.rfind('\n', out.size() - 2) + 1);
  CAPTURE(last);
  CHECK(last.find(" digits: done, 2 of 2 rounds published, 4 devices known; round 2 published, 4 "
                  "of 4 updates, refused none") != std::string::npos);

  fleet.server().Signal(SIGTERM);
  CHECK(fleet.server().Wait(kStopSeconds) == 0);
  std::vector<std::pair<int, std::string>> expected;
  expected.reserve(8);
  for (const int round : {1, 2}) {
    for (const char* state : {"selecting", "collecting", "folding", "published"}) {
      expected.emplace_back(round, state);
    }
  }
  CHECK(RoundsInLog(fleet.server().err()) == expected);
}

}  // namespace
}  // namespace fl::testing
