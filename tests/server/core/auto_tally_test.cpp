#include "fl/server/core/auto_tally.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "fl/server/report/report.h"
#include "fl/tests/server/support/fake_fleet.h"

namespace fl::server::testing {
namespace {

std::shared_ptr<const FederationPlan> PlanWith(const std::string& recipe) {
  return MakePlan(PlanText("count = 3\npopulation_min = 2\ngoal = 2",
                           "[compression]\ngather_below = 0\n[[compression.recipe]]\n"
                           "tensors = \"*\"\nrecipe = \"" +
                               recipe + "\"\n"));
}

AutoTally SomeTally(const FederationPlan& plan) {
  AutoTally tally = AutoTally::Of(plan);
  tally.updates = 300;
  tally.body_bytes = 1'000'000;
  tally.body_bytes_largest = 4000;
  tally.segments.front().payload_bytes = 700'000;
  tally.segments.front().choices = {{0, 1}, {2, 290}, {71, 9}};
  return tally;
}

TEST_CASE("AutoTally: names its choices as recipes do") {
  CHECK(AutoTally::NameOf(0) == "nothing");
  CHECK(AutoTally::NameOf(1) == "raw");
  CHECK(AutoTally::NameOf(2) == "dead_zone");
  CHECK(AutoTally::NameOf(1 + 64 + 6) == "low_rank 6");
  CHECK(AutoTally::NameOf(256) == "unknown");
}

TEST_CASE("AutoTally: is read as it was written, and no other bytes are") {
  const auto plan = PlanWith("auto bytes=1KB");
  const AutoTally tally = SomeTally(*plan);
  const Bytes bytes = tally.Encode();
  CHECK(Get(AutoTally::Decode(*plan, bytes)) == tally);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CHECK(CodeOf(AutoTally::Decode(*plan, ByteSpan(bytes).first(size))) == ErrorCode::kInternal);
  }
  Bytes longer = bytes;
  longer.push_back(std::byte{0});
  CHECK(CodeOf(AutoTally::Decode(*plan, longer)) == ErrorCode::kInternal);
  AutoTally other = tally;
  other.segments.emplace_back();
  CHECK(CodeOf(AutoTally::Decode(*plan, other.Encode())) == ErrorCode::kInternal);
  AutoTally unknown = tally;
  unknown.segments.front().choices[257] = 1;
  CHECK(CodeOf(AutoTally::Decode(*plan, unknown.Encode())) == ErrorCode::kInternal);
}

TEST_CASE("The report: counts what auto chose, by tensor, over all rounds") {
  Server server(PlanWith("auto bytes=1KB start=50%"));
  PlayAll(server, {"device-0", "device-1"});
  const Report report = Get(BuildReport(server.storage(), server.plan()));
  REQUIRE(report.automatic);
  CHECK(report.automatic->bytes == 1000);
  CHECK(report.automatic->share == 0.5);
  CHECK(report.automatic->updates == 6);
  CHECK(report.automatic->body_bytes_largest <= 1000);
  CHECK(report.automatic->body_bytes <= 6 * report.automatic->body_bytes_largest);
  REQUIRE(report.automatic->tensors.size() == server.plan().checked().delta.segments().size());
  for (const AutoReport::Tensor& tensor : report.automatic->tensors) {
    CAPTURE(tensor.name);
    std::uint64_t times = 0;
    for (const auto& [name, count] : tensor.choices) times += count;
    CHECK(times == 6);
    CHECK(tensor.payload_bytes > 0);
  }
  // The fake devices' few values fit as they are.
  const auto json = nlohmann::json::parse(ReportToJson(report));
  CHECK(json["auto"]["updates"] == 6);
  CHECK(json["auto"]["tensors"][0]["choices"]["raw"] == 6);
}

TEST_CASE("The report: says nothing of auto where the plan has none") {
  Server server(PlanWith("quantize 8"));
  PlayAll(server, {"device-0", "device-1"});
  const Report report = Get(BuildReport(server.storage(), server.plan()));
  CHECK_FALSE(report.automatic);
  CHECK(nlohmann::json::parse(ReportToJson(report))["auto"].is_null());
}

TEST_CASE("The report: of auto begins with nothing counted") {
  Server server(PlanWith("auto bytes=1KB"));
  CheckInAs(server, "device-0");
  const Report report = Get(BuildReport(server.storage(), server.plan()));
  REQUIRE(report.automatic);
  CHECK(report.automatic->updates == 0);
  CHECK(report.automatic->share == 1.0);
  CHECK(report.automatic->tensors.empty());
}

}  // namespace
}  // namespace fl::server::testing
