#include "fl/server/core/offences.h"

#include <nlohmann/json.hpp>

#include "fl/common/base/error_detail.h"
#include "fl/tests/server/support/fake_fleet.h"

namespace fl::server::testing {
namespace {

constexpr const char* kTwoClients =
    "count = 3\npopulation_min = 2\ngoal = 2\nmin_report = 1\ndeadline_s = 100000";

constexpr OffencePolicy kPolicy{
    .free = 1, .hold_s = 30, .hold_max_s = 100, .deny_after = 5, .deny_s = 5000};

// A round of two devices, of which device-0 misbehaves.
struct Watched {
  explicit Watched(Storage* storage = nullptr)
      : server(MakePlan(PlanText(kTwoClients)), storage, kPolicy) {
    CheckInAs(server, "device-1");
    task = CheckInAs(server, "device-0").task.value();
  }
  net::Response Offend() { return Put(server, "device-0", task.id, Bytes(3)); }
  // Offends once the time for it has come.
  net::Response OffendInTime(double wait_s) {
    server.Pass(wait_s);
    return Offend();
  }
  net::Response CheckIn() { return server.Send(Device("device-0"), CheckInOf()); }
  nlohmann::json Page(const std::string& method, const std::string& page) {
    const net::Response response =
        server.Send(Admin(), {method, "/v1/admin/" + page, "localhost", {}, {}});
    return nlohmann::json::parse(AsText(response.body));
  }

  Server server;
  wire::Task task;
};

std::string DetailOf(const net::Response& response) {
  return std::string(net::FindHeader(response.headers, "Refusal-Detail"));
}

double WindowOf(const net::Response& response) {
  return Get(wire::Decode<wire::Refusal>(response.body)).again_min_ms / 1000.0;
}

TEST_CASE("Offences: the first is free and each further one holds a client off for twice as long") {
  Watched watched;
  CHECK(DetailOf(watched.Offend()) == "magic");
  CHECK(watched.CheckIn().status == 200);
  CHECK(DetailOf(watched.Offend()) == "magic");
  const net::Response held = watched.CheckIn();
  CHECK(RefusalCode(held) == ErrorCode::kUnavailable);
  CHECK(DetailOf(held) == "held_off");
  CHECK(WindowOf(held) == doctest::Approx(30).epsilon(0.001));
  // What it sends meanwhile is not looked at: not even a good update, nor a bad one.
  CHECK(DetailOf(watched.Offend()) == "held_off");
  watched.server.Pass(29.9);
  CHECK(DetailOf(watched.CheckIn()) == "held_off");
  watched.server.Pass(0.1);
  CHECK(watched.CheckIn().status == 200);
  CHECK(DetailOf(watched.Offend()) == "magic");
  CHECK(WindowOf(watched.CheckIn()) == doctest::Approx(60).epsilon(0.001));
}

TEST_CASE("Offences: other clients are served as ever and the round goes on") {
  Watched watched;
  watched.Offend();
  watched.Offend();
  const auto other = CheckInAs(watched.server, "device-1").task.value();
  const Bytes update = GoodUpdate(watched.server.plan(), other, "device-1");
  CHECK(Put(watched.server, "device-1", other.id, update).status == 200);
  watched.server.Pass(30);
  const Bytes good = GoodUpdate(watched.server.plan(), watched.task, "device-0");
  CHECK(Put(watched.server, "device-0", watched.task.id, good).status == 200);
  CHECK(watched.server.federation().published == 1);
}

TEST_CASE("Offences: an accepted update clears them") {
  Watched watched;
  watched.Offend();
  const Bytes good = GoodUpdate(watched.server.plan(), watched.task, "device-0");
  CHECK(Put(watched.server, "device-0", watched.task.id, good).status == 200);
  CHECK(watched.Page("GET", "refusals")["offenders"].empty());
  wire::Update second = UpdateFor(watched.server.plan(), watched.task,
                                  DeltaOf(watched.server.plan(), "device-0", 1), 99);
  CHECK(RefusalCode(Put(watched.server, "device-0", watched.task.id, wire::EncodeUpdate(second))) ==
        ErrorCode::kDuplicate);
  CHECK(watched.CheckIn().status == 200);
}

TEST_CASE("Offences: after enough in a row a client is denied for a while, over a restart too") {
  const auto storage = Get(OpenSqliteStorage(":memory:"));
  Watched watched(storage.get());
  watched.Offend();
  watched.Offend();
  watched.OffendInTime(30);
  watched.OffendInTime(60);
  CHECK(DetailOf(watched.OffendInTime(100)) == "magic");
  CHECK(DetailOf(watched.CheckIn()) == "denied");
  CHECK(WindowOf(watched.CheckIn()) == doctest::Approx(5000).epsilon(0.001));
  CHECK(DetailOf(watched.server.Send(Device("device-0"), BlobRequest(Digest{}))) == "denied");
  const auto events = watched.Page("GET", "events")["events"];
  CHECK(events.back()["text"].get<std::string>().starts_with("denied device-0 for 5000 s: 5 "));

  const auto again = Get(ServerCore::Create(*storage, watched.server.shared_plan(),
                                            watched.server.now(), {.offences = kPolicy}));
  RequestArrived arrived;
  arrived.peer = Device("device-0");
  arrived.request = CheckInOf();
  const std::vector<ServerEvent> batch = {arrived};
  CHECK(DetailOf(again->Handle(batch, watched.server.now()).replies[0].response) == "denied");
  watched.server.Pass(5000);
  CHECK(watched.CheckIn().status == 200);
}

TEST_CASE("Offences: an operator lifts them by name") {
  Watched watched;
  watched.Offend();
  watched.Offend();
  CHECK(DetailOf(watched.CheckIn()) == "held_off");
  CHECK(watched.Page("POST", "allow?client=nobody").contains("error"));
  CHECK(watched.Page("POST", "allow").contains("error"));
  CHECK(watched.Page("POST", "allow?federation=other&client=device-0").contains("error"));
  const auto page = watched.Page("POST", "allow?federation=small&client=device-0");
  CHECK(page["offenders"].empty());
  CHECK(page["refusals"].size() == 2);
  CHECK(watched.CheckIn().status == 200);
  CHECK(watched.Page("GET", "events")["events"].back()["text"] == "allowed device-0 by an admin");
}

TEST_CASE("Offences: the last refusals are kept, with client, code, detail and message") {
  Watched watched;
  watched.Offend();
  const auto page = watched.Page("GET", "refusals");
  REQUIRE(page["refusals"].size() == 1);
  const auto& row = page["refusals"][0];
  CHECK(row["client"] == "device-0");
  CHECK(row["code"] == "malformed");
  CHECK(row["detail"] == "magic");
  CHECK(row["round"] == 1);
  CHECK_FALSE(row["message"].get<std::string>().empty());
  CHECK(page["offenders"][0]["refused_in_a_row"] == 1);
}

TEST_CASE("Offences: of many refusals the newest are kept") {
  Server server(MakePlan(PlanText(kTwoClients)));
  CheckInAs(server, "device-1");
  for (std::uint64_t i = 0; i < Transaction::kRefusedMax + 10; ++i) {
    Put(server, "device-1", 1000 + i, Bytes(3));
  }
  const auto transaction = Get(server.storage().Begin("small", TransactionMode::kOptimistic));
  CHECK(Get(transaction->LastRefused("small")).size() == Transaction::kRefusedMax);
}

TEST_CASE("Offences: who has to wait is chosen for no round") {
  const auto cohort_of = [](const OffencePolicy& policy) {
    Server server(MakePlan(PlanText("count = 3\npopulation_min = 3\ngoal = 2\nmin_report = 1\n"
                                    "over_select = 1.5\ndeadline_s = 10")),
                  nullptr, policy);
    CheckInAs(server, "device-0");
    for (int i = 0; i < 2; ++i) {
      server.Send(Device("device-0"), {"POST", "/v1/check-in", "localhost", {}, Bytes(1)});
    }
    for (const double wait_s : {0.0, 5.0, 6.0}) {
      server.Pass(wait_s);
      CheckInAs(server, "device-1");
      CheckInAs(server, "device-2");
    }
    return server.round(1).cohort;
  };
  CHECK(cohort_of({.hold_s = 4000, .hold_max_s = 4000}) == 2);
  CHECK(cohort_of({.hold_s = 0}) == 3);
}

TEST_CASE("Offences: late, needless and premature requests are none") {
  for (const ErrorCode code :
       {ErrorCode::kTooLate, ErrorCode::kNotNeeded, ErrorCode::kUnavailable, ErrorCode::kNotFound,
        ErrorCode::kWrongOffset, ErrorCode::kWrongState, ErrorCode::kWrongVersion,
        ErrorCode::kUnauthorized, ErrorCode::kUnsupported, ErrorCode::kInternal, ErrorCode::kIo,
        ErrorCode::kConflict}) {
    CHECK_FALSE(IsOffence(code));
  }
  for (const ErrorCode code : {ErrorCode::kMalformed, ErrorCode::kNotFinite, ErrorCode::kDuplicate,
                               ErrorCode::kNormExceeded, ErrorCode::kUnknownTask}) {
    CHECK(IsOffence(code));
  }
}

TEST_CASE("Offences: what lies long back is forgotten, and no time is longer than its bound") {
  OffenderRow row;
  TimePoint now = FromMicroseconds(1'000'000'000);
  const OffencePolicy patient{
      .free = 0, .hold_s = 30, .hold_max_s = 3600, .deny_after = 0, .deny_s = 100};
  for (int i = 0; i < 5000; ++i) CHECK_FALSE(CountOffence(patient, now, row));
  CHECK(row.held_until == now + FromSeconds(3600));
  now += FromSeconds(101);
  CountOffence(patient, now, row);
  CHECK(row.offences == 1);
  CHECK(row.held_until == now + FromSeconds(30));
}

}  // namespace
}  // namespace fl::server::testing
