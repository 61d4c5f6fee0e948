#include "fl/server/operate/status_view.h"

#include <sstream>

#include "fl/tests/server/support/fake_fleet.h"

namespace fl::server::testing {
namespace {

constexpr std::int64_t kTime = 1700000000000000;  // 2023-11-14, 22:13:20 UTC.

std::string StatusOf(Server& server) {
  const net::Response response =
      server.Send(Admin(), {"GET", "/v1/admin/status", "localhost", {}, {}});
  REQUIRE(response.status == 200);
  return std::string(AsText(response.body));
}

TEST_CASE("StatusView: a round as a person wants to see it, from the server's own answer") {
  Server server(MakePlan(PlanText("count = 3\npopulation_min = 2\ngoal = 2\nwait_s = 20")));
  CheckInAs(server, "device-0");
  StatusView view = Get(ViewStatus(StatusOf(server)));
  CHECK(view.lines.find("small         running, 0 of 3 rounds published, 1 device known, begins "
                        "with 2\nround         none yet\n") == 0);
  const wire::Task task = CheckInAs(server, "device-1").task.value();
  CHECK(Put(server, "device-1", task.id, ToBytes("junk")).status == 400);
  CHECK(Put(server, "device-1", task.id + 1, ToBytes("junk")).status == 404);
  Put(server, "device-1", task.id, GoodUpdate(server.plan(), task, "device-1"));
  server.Pass(9);
  view = Get(ViewStatus(StatusOf(server)));
  CAPTURE(view.lines);
  CHECK(!view.over);
  CHECK(view.lines.find("round 1       collecting, ") != std::string::npos);
  CHECK(view.lines.find(" left\n") != std::string::npos);
  CHECK(view.lines.find("[############............] 1 of 2 updates, 2 asked\n") !=
        std::string::npos);
  CHECK(view.lines.find("refused       2: 1 malformed, 1 unknown_task\n") != std::string::npos);
  CHECK(view.lines.find("accuracy      not measured yet\n") != std::string::npos);
  CHECK(view.lines.find("next check-in in 0:") != std::string::npos);
  CHECK(view.summary.find("round 1 collecting, 1 of 2 updates, refused 2: 1 malformed, 1 "
                          "unknown_task") != std::string::npos);
}

TEST_CASE("StatusView: the accuracy's trend, and the end") {
  Server server(MakePlan(PlanText("count = 2\npopulation_min = 2\ngoal = 2")));
  PlayAll(server, {"device-0", "device-1"});
  const StatusView view = Get(ViewStatus(StatusOf(server)));
  CAPTURE(view.lines);
  CHECK(view.over);
  CHECK(view.lines.find("small         done, 2 of 2 rounds published") == 0);
  CHECK(view.lines.find("% after round 1\n") !=
        std::string::npos);  // As the next one's clients say.
  CHECK(view.lines.find("next check-in") == std::string::npos);
}

TEST_CASE("StatusView: a storage that failed lately is named") {
  bool broken = false;
  SqliteOptions options;
  options.before_operation = [&]() -> Result<> {
    if (!broken) return Ok{};
    return Error{ErrorCode::kIo, "the disk is gone"};
  };
  const auto storage = Get(OpenSqliteStorage(":memory:", options));
  Server server(MakePlan(PlanText("count = 1\npopulation_min = 2\ngoal = 2")), storage.get());
  CHECK(Get(ViewStatus(StatusOf(server))).lines.find("storage ") == std::string::npos);
  broken = true;
  CHECK(server.Send(Device("device-0"), CheckInOf()).status == 503);
  broken = false;
  server.Pass(2);
  const StatusView view = Get(ViewStatus(StatusOf(server)));
  CAPTURE(view.lines);
  CHECK(view.lines.find("\nstorage       failed 0:02 ago: the disk is gone\n") !=
        std::string::npos);
  CHECK(view.summary.find("; the storage fails") != std::string::npos);
  server.Pass(60);
  CHECK(Get(ViewStatus(StatusOf(server))).lines.find("storage ") == std::string::npos);
}

TEST_CASE("StatusView: what is no status is an error") {
  for (const char* text : {"", "[]", "{}", "{\"state\": 1}", "<html>"}) {
    CHECK(CodeOf(ViewStatus(text)) == ErrorCode::kMalformed);
  }
}

TEST_CASE("StatusWatch: lines that a terminal would break are cut where they are drawn") {
  std::ostringstream terminal;
  std::size_t columns = 3;
  StatusWatch live(terminal, [&] { return columns; });
  live.Show({"abcd\n\u00e4\u00f6\u00fcx\n\nab\n", "s", false}, kTime);
  CHECK(terminal.str() == "abc\n\u00e4\u00f6\u00fc\n\nab\n");
  columns = 2;
  live.ShowProblem("gone", kTime);
  CHECK(terminal.str().ends_with("\nab\n\x1b[4A\r\x1b[Jgo\n"));
}

TEST_CASE("StatusWatch: draws over itself on a terminal, elsewhere a line a change") {
  std::ostringstream terminal;
  StatusWatch live(terminal, [] { return std::size_t{80}; });
  live.Show({"a\nb\n", "s", false}, kTime);
  live.Show({"c\n", "s", false}, kTime);
  live.ShowProblem("gone", kTime);
  CHECK(terminal.str() == "a\nb\n\x1b[2A\r\x1b[Jc\n\x1b[1A\r\x1b[Jgone\n");
  std::ostringstream file;
  StatusWatch lines(file, [] { return std::size_t{0}; });
  lines.Show({"a\nb\n", "one", false}, kTime);
  lines.Show({"c\n", "one", false}, kTime + 1000000);
  lines.Show({"c\n", "two", false}, kTime + 2000000);
  lines.ShowProblem("gone", kTime + 3000000);
  CHECK(file.str() ==
        "2023-11-14T22:13:20Z one\n2023-11-14T22:13:22Z two\n2023-11-14T22:13:23Z gone\n");
}

}  // namespace
}  // namespace fl::server::testing
