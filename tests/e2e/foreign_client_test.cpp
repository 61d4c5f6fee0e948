#include <doctest/doctest.h>

#include "fl/tests/e2e/fleet.h"

// A client that is written from the documents alone, in another language, against our server.
namespace fl::testing {
namespace {

using nlohmann::json;

constexpr double kPatience = 90;

// Digits as fp32 by two clients, without a local model at the end.
std::string PlainPlan(int rounds) {
  std::string plan = DigitsPlan(rounds);
  plan.erase(plan.find("[[compression.recipe]]"),
             plan.find("[simulation]") - plan.find("[[compression.recipe]]"));
  for (const std::string key : {"population_min", "goal", "min_report"}) {
    const std::string wanted = key + " = 4";
    plan.replace(plan.find(wanted), wanted.size(), key + " = 2");
  }
  return plan;
}

std::vector<std::string> ForeignCall(const Fleet& fleet, const std::string& name,
                                     const std::vector<std::string>& options) {
  const std::string tree = FL_TEST_SOURCE_DIR;
  std::vector<std::string> call = {
      FL_TEST_PYTHON, tree + "/examples/foreign-client/foreign_client.py",
      "--server",     fleet.address(),
      "--pki",        fleet.path("pki/" + name),
      "--data",       tree + "/data/small-tables/digits8x8.csv.gz",
      "--report",     fleet.path(name + ".json")};
  call.insert(call.end(), options.begin(), options.end());
  return call;
}

TEST_CASE("Foreign client: Python and curl take part in whole rounds") {
  Fleet fleet(PlainPlan(3));
  fleet.Issue("whole");
  fleet.Issue("pieces");
  fleet.StartServer();
  Process whole(ForeignCall(fleet, "whole", {}), fleet.path("whole"));
  Process pieces(ForeignCall(fleet, "pieces", {"--in-pieces"}), fleet.path("pieces"));
  for (Process* client : {&whole, &pieces}) {
    const auto status = client->Wait(kPatience);
    INFO(client->err());
    REQUIRE(status == 0);
  }
  const json report = fleet.Report();
  REQUIRE(report.at("rounds").size() == 3);
  for (const json& round : report.at("rounds")) {
    CHECK(round.at("accepted") == 2);
    CHECK(round.at("refused").empty());
  }
  for (const std::string name : {"whole", "pieces"}) {
    const json rounds = json::parse(ReadText(fleet.path(name + ".json"))).at("rounds");
    REQUIRE(rounds.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(rounds[i].at("round") == i + 1);
      CHECK(rounds[i].at("version") == i);  // Its digest was compared by the client.
    }
    CHECK(rounds[2].at("accuracy").get<double>() > rounds[0].at("accuracy").get<double>() + 0.3);
  }
  CHECK(fleet.Status().at("state") == "done");
}

TEST_CASE("Foreign client: one that speaks a newer version is refused, and told both") {
  Fleet fleet(PlainPlan(1));
  fleet.Issue("newer");
  fleet.StartServer();
  const Outcome outcome =
      RunProgram(ForeignCall(fleet, "newer", {"--protocol", "2"}), fleet.path("newer"), kPatience);
  CHECK(outcome.status == 3);
  CHECK(outcome.err.find("the server speaks version 1, the client version 2") != std::string::npos);
  CHECK(fleet.Status().at("clients") == 0);
}

}  // namespace
}  // namespace fl::testing
