#include <thread>

#include "fl/common/net/memory_transport.h"
#include "fl/server/http/server_shell.h"
#include "fl/tests/common/net/tls_fixture.h"
#include "fl/tests/server/support/fake_fleet.h"

// Clients that come again at once, over real connections.
namespace fl::server::testing {
namespace {

using fl::testing::TestPki;
using std::chrono::steady_clock;

constexpr Duration kPatience = std::chrono::seconds(60);

// Its federation never begins.
class Served {
 public:
  explicit Served(const ClientLimits& limits)
      : plan_(MakePlan(PlanText("count = 1\npopulation_min = 100\ngoal = 100"))),
        storage_(Get(OpenSqliteStorage(":memory:"))),
        shell_(Get(ServerShell::Create(*storage_, {{plan_, nullptr}}, 2, quiet_, {}, limits))) {}

  const TestPki& pki() const { return pki_; }
  ServerShell& shell() { return *shell_; }
  // Over TLS.
  std::unique_ptr<net::HttpServer> Listen() {
    net::HttpLimits limits;
    limits.handshake = kPatience;
    return Get(net::HttpServer::Start("127.0.0.1", 0, pki_.Server(), limits, 2, *shell_));
  }

 private:
  TestPki pki_;
  Logger quiet_{LogLevel::kOff};
  std::shared_ptr<const FederationPlan> plan_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<ServerShell> shell_;
};

std::unique_ptr<net::HttpClient> Connect(const net::HttpServer& server,
                                         const net::TlsFiles& files) {
  return Get(net::HttpClient::Create("127.0.0.1", server.port(), files, {}));
}

TEST_CASE("Backpressure: a client above its rate is slowed, also over another connection") {
  Served served({.requests_per_second = 1, .burst = 3});
  const auto server = served.Listen();
  const net::TlsFiles hasty = served.pki().Client("hasty");
  const auto first = Connect(*server, hasty);
  for (int i = 0; i < 3; ++i) {
    CHECK(Get(first->Exchange(CheckInOf(), kPatience)).status == 200);
  }
  const auto begin = steady_clock::now();
  const net::Response refused = Get(first->Exchange(CheckInOf(), kPatience));
  CHECK(RefusalCode(refused) == ErrorCode::kUnavailable);
  CHECK(net::FindHeader(refused.headers, "Retry-After") == "1");
  std::thread again([&] {
    const auto second = Connect(*server, hasty);
    const Result<net::Response> answer = second->Exchange(CheckInOf(), kPatience);
    CHECK(steady_clock::now() - begin >= std::chrono::seconds(1));
    CHECK((answer.has_value() && answer->status == 200));
  });
  const auto patient = Connect(*server, served.pki().Client("patient"));
  for (int i = 0; i < 3; ++i) {
    CHECK(Get(patient->Exchange(CheckInOf(), kPatience)).status == 200);
  }
  const auto admin = Connect(*server, served.pki().Issue("ada", crypto::CertificateRole::kAdmin));
  for (int i = 0; i < 10; ++i) {
    const net::Request status{"GET", "/v1/admin/status", "localhost", {}, {}};
    CHECK(Get(admin->Exchange(status, kPatience)).status == 200);
  }
  again.join();
  CHECK(served.shell().gate().put_off(PutOffReason::kRate).value() == 1);
  CHECK(served.shell().gate().paused().value() == 1);
}

TEST_CASE("Backpressure: a client that has to wait for its faults is paused, too") {
  Served served({});
  net::MemoryTransport transport(served.shell(), Device("broken"));
  const net::Request broken{"POST", "/v1/check-in", "localhost", {}, ToBytes("?")};
  for (int i = 0; i < 2; ++i) {
    CHECK(RefusalCode(Get(transport.Exchange(broken, kPatience))) == ErrorCode::kMalformed);
  }
  ClientGate& gate = served.shell().gate();
  CHECK(gate.put_off(PutOffReason::kHeldOff).value() == 0);
  CHECK(RefusalCode(Get(transport.Exchange(CheckInOf(), kPatience))) == ErrorCode::kUnavailable);
  CHECK(gate.put_off(PutOffReason::kHeldOff).value() == 1);
  // However long ago that was: before it began.
  CHECK(gate.PauseOf(Device("broken"), TimePoint()) > Duration(0));
  CHECK(gate.PauseOf(Device("other"), TimePoint()) == Duration(0));
}

}  // namespace
}  // namespace fl::server::testing
