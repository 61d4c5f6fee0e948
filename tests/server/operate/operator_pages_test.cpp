#include "fl/server/operate/operator_pages.h"

#include <atomic>

#include "fl/common/net/memory_transport.h"
#include "fl/tests/server/support/exposition_parser.h"
#include "fl/tests/server/support/fake_fleet.h"
#include "fl/tests/support/temporary_folder.h"

namespace fl::server::testing {
namespace {

using fl::testing::TemporaryFolder;

constexpr Duration kTimeout = std::chrono::seconds(30);
const std::string kOf = "{federation=\"small\"";

// A shell over a storage that can be told to fail, with its pages.
class Operated {
 public:
  explicit Operated(const std::string& rounds) : plan_(MakePlan(PlanText(rounds))) {
    SqliteOptions options;
    options.before_operation = [this]() -> Result<> {
      if (broken_) return Error{ErrorCode::kIo, "no space left"};
      return Ok{};
    };
    storage_ = Get(OpenSqliteStorage((folder_.path() / "state.db").string(), options));
    shell_ = Get(ServerShell::Create(*storage_, {{plan_, nullptr}}, 2, quiet_));
    pages_ = std::make_unique<OperatorPages>(*shell_, [] {
      return OperatorPages::Connections{7, 3};
    });
  }

  net::Response Ask(const std::string& target, const std::string& method = "GET") {
    net::MemoryTransport transport(*pages_, {});
    return Get(transport.Exchange({method, target, "localhost", {}, {}}, kTimeout));
  }
  std::string Body(const std::string& target) { return std::string(AsText(Ask(target).body)); }
  net::Response Send(const std::string& device, const net::Request& request) {
    net::MemoryTransport transport(*shell_, Device(device));
    return Get(transport.Exchange(request, kTimeout));
  }
  wire::CheckInAnswer CheckInAs(const std::string& device) {
    return Get(wire::Decode<wire::CheckInAnswer>(Send(device, CheckInOf()).body));
  }
  // Asks as the device until the answer holds what is waited for.
  template <typename F>
  wire::CheckInAnswer Await(const std::string& device, F&& holds) {
    for (int turn = 0; turn < 2000; ++turn) {
      wire::CheckInAnswer answer = CheckInAs(device);
      ++check_ins_;
      if (holds(answer)) return answer;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    FAIL("it never came");
    return {};
  }

  const FederationPlan& plan() const { return *plan_; }
  ServerShell& shell() { return *shell_; }
  int check_ins() const { return check_ins_; }
  void set_broken(bool broken) { broken_ = broken; }

 private:
  TemporaryFolder folder_;
  std::shared_ptr<const FederationPlan> plan_;
  Logger quiet_{LogLevel::kOff};
  std::atomic<bool> broken_ = false;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<ServerShell> shell_;
  std::unique_ptr<OperatorPages> pages_;
  int check_ins_ = 0;
};

TEST_CASE("OperatorPages: the figures are those of the round that was played") {
  Operated server("count = 1\npopulation_min = 1\ngoal = 1");
  const wire::CheckInAnswer asked =
      server.Await("device-0", [](const auto& answer) { return answer.task.has_value(); });
  net::Request put{"PUT", TaskTarget(asked.task->id), "localhost", {}, ToBytes("junk")};
  CHECK(server.Send("device-0", put).status == 400);
  put.body = GoodUpdate(server.plan(), *asked.task, "device-0");
  CHECK(server.Send("device-0", put).status == 200);
  CHECK(server.Send("device-0", put).status == 200);  // Again: it counts once.
  server.Await("device-0", [](const auto& answer) { return answer.done; });

  const net::Response response = server.Ask("/metrics");
  CHECK(response.status == 200);
  CHECK(net::FindHeader(response.headers, "Content-Type") ==
        "text/plain; version=0.0.4; charset=utf-8");
  const Scrape scrape{std::string(AsText(response.body))};
  CHECK(scrape["fl_rounds_published_total" + kOf + "}"] == 1);
  CHECK(scrape["fl_rounds_abandoned_total" + kOf + "}"] == 0);
  CHECK(scrape["fl_round" + kOf + "}"] == 1);
  CHECK(scrape["fl_round_cohort" + kOf + "}"] == 1);
  CHECK(scrape["fl_round_accepted" + kOf + "}"] == 1);
  CHECK(scrape["fl_model_version" + kOf + "}"] == 1);
  CHECK(scrape["fl_clients" + kOf + "}"] == 1);
  CHECK(scrape["fl_federation_state" + kOf + ",state=\"done\"}"] == 1);
  CHECK(scrape["fl_federation_state" + kOf + ",state=\"running\"}"] == 0);
  CHECK(scrape["fl_requests_total" + kOf + ",kind=\"check_in\"}"] == server.check_ins());
  CHECK(scrape["fl_requests_total" + kOf + ",kind=\"upload\"}"] == 3);
  CHECK(scrape["fl_updates_accepted_total" + kOf + ",kind=\"train\"}"] == 1);
  CHECK(scrape["fl_refused_total" + kOf + ",code=\"malformed\"}"] == 1);
  CHECK(!scrape.has("fl_refused_total" + kOf + ",code=\"duplicate\"}"));
  const auto body_bytes = static_cast<double>(2 * put.body.size() + 4) +
                          server.check_ins() * static_cast<double>(CheckInOf().body.size());
  CHECK(scrape["fl_received_body_bytes_total" + kOf + "}"] == body_bytes);
  CHECK(scrape["fl_received_bytes_total" + kOf + "}"] > body_bytes);
  CHECK(scrape["fl_sent_bytes_total" + kOf + "}"] > scrape["fl_sent_body_bytes_total" + kOf + "}"]);
  // The repeated one was not looked at again.
  CHECK(scrape["fl_step_seconds_count" + kOf + ",step=\"check\"}"] == 2);
  CHECK(scrape["fl_step_seconds_count" + kOf + ",step=\"fold\"}"] == 1);
  CHECK(scrape["fl_step_seconds_count" + kOf + ",step=\"answer\"}"] == server.check_ins() + 3);
  CHECK(scrape["fl_step_seconds_sum" + kOf + ",step=\"batch\"}"] > 0);
  CHECK(scrape["fl_queue_length" + kOf + ",queue=\"held_check_ins\"}"] == 0);
  CHECK(scrape["fl_queue_length{queue=\"jobs\"}"] >= 0);
  CHECK(scrape["fl_open_connections"] == 7);
  CHECK(scrape["fl_put_out_connections_total"] == 3);
  CHECK(scrape["fl_limited_clients"] == 1);
  CHECK(scrape["fl_put_off_total{why=\"rate\"}"] == 0);
  CHECK(scrape["fl_paused_requests_total"] == 0);
  CHECK(scrape["process_resident_memory_bytes"] > 1e6);
  CHECK(scrape["process_open_fds"] > 3);
  CHECK(scrape["process_max_fds"] > scrape["process_open_fds"]);
  CHECK(scrape["process_cpu_seconds_total"] > 0);
  CHECK(scrape["process_start_time_seconds"] > 1.6e9);
}

TEST_CASE("OperatorPages: a held check-in is seen while it waits, and is no slow answer") {
  Operated server("count = 1\npopulation_min = 2\ngoal = 2");
  std::thread device([&] { server.Send("device-0", CheckInOf(true)); });
  const auto held_becomes = [&](double expected) {
    for (int turn = 0; turn < 2000; ++turn) {
      const Scrape scrape(server.Body("/metrics"));
      if (scrape["fl_queue_length" + kOf + ",queue=\"held_check_ins\"}"] == expected) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  };
  CHECK(held_becomes(1));
  server.shell().Stop();
  device.join();
  CHECK(held_becomes(0));
  const Scrape scrape(server.Body("/metrics"));
  CHECK(scrape["fl_step_seconds_count" + kOf + ",step=\"answer\"}"] == 0);
}

TEST_CASE("OperatorPages: ready while the storage takes writes, healthy in any case") {
  Operated server("count = 1\npopulation_min = 2\ngoal = 2");
  CHECK(server.Ask("/readyz").status == 200);
  server.set_broken(true);
  server.Send("device-0", CheckInOf());
  CHECK(Scrape(server.Body("/metrics"))["fl_put_off_total{why=\"not_now\"}"] == 1);
  const net::Response response = server.Ask("/readyz");
  CHECK(response.status == 503);
  CHECK(AsText(response.body).find("small: the storage takes nothing") != std::string::npos);
  CHECK(server.Ask("/healthz").status == 200);
  CHECK(Scrape(server.Body("/metrics"))["fl_storage_failures_total" + kOf + "}"] >= 1);
  server.set_broken(false);
  CHECK(server.Ask("/readyz").status == 200);
  server.shell().Stop();
  CHECK(server.Ask("/readyz").status == 503);
  CHECK(server.Ask("/healthz").status == 200);
}

TEST_CASE("OperatorPages: /readyz finds a storage that broke while nobody wrote") {
  Operated server("count = 1\npopulation_min = 2\ngoal = 2");
  CHECK(server.Ask("/readyz").status == 200);
  server.set_broken(true);
  bool found = false;  // Once what was stored last is older than a second.
  for (int turn = 0; turn < 400 && !found; ++turn) {
    found = server.Ask("/readyz").status == 503;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(found);
}

TEST_CASE("OperatorPages: nothing but GET, and nothing but its pages") {
  Operated server("count = 1\npopulation_min = 2\ngoal = 2");
  CHECK(server.Ask("/").status == 404);
  CHECK(server.Ask("/v1/admin/status").status == 404);
  CHECK(server.Ask("/metricsx").status == 404);
  CHECK(server.Ask("/metrics?name=fl_round").status == 200);
  for (const char* method : {"POST", "PUT", "PATCH"}) {
    const net::Response response = server.Ask("/metrics", method);
    CHECK(response.status == 405);
    CHECK(net::FindHeader(response.headers, "Allow") == "GET, HEAD");
  }
}

}  // namespace
}  // namespace fl::server::testing
