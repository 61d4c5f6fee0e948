#include "fl/simulations/federation/simulation.h"

#include <algorithm>
#include <string>

#include <doctest/doctest.h>

#include "fl/common/nn/initialize.h"
#include "fl/common/nn/model_file.h"
#include "fl/tests/simulations/play.h"
#include "fl/tests/simulations/small_federation.h"
#include "fl/tests/support/result.h"

namespace fl::sim {
namespace {

using testing::CodeOf;
using testing::CornersData;
using testing::CornersPlan;
using testing::Get;
using testing::SmallFederation;

TEST_CASE("Simulation: the devices learn together and each round is reported") {
  SmallFederation federation;
  const server::Report report = federation.Play();
  CHECK(federation->done());
  CHECK(report.state == "done");
  REQUIRE(report.rounds.size() == 5);
  for (std::size_t i = 0; i < report.rounds.size(); ++i) {
    const server::RoundReport& round = report.rounds[i];
    CHECK(round.number == i + 1);
    CHECK(round.version == i + 1);
    CHECK(round.cohort == 4);
    CHECK(round.accepted == 4);
    CHECK(round.refused.empty());
    CHECK(round.accuracy.has_value());
    CHECK(round.traffic.body_bytes_up < round.traffic.bytes_up);
  }
  CHECK(report.final_accuracy.value_or(0) > 0.85);
  CHECK(report.totals.accepted == 20);
  // 2 x 16 + 16 + 16 x 4 + 4 values of 4 bytes in each of 20 updates.
  CHECK(report.totals.fp32_body_bytes_up >= 20 * 116 * 4);
  CHECK(federation.seen.size() == 5);
  CHECK(federation.seen.back().published == 5);
  CHECK(federation.seen.back().accuracy == report.final_accuracy);
}

TEST_CASE(
    "Simulation: the same seed gives the same model on 1 and 4 threads and another seed another") {
  const auto play = [](const std::vector<std::string>& settings, std::size_t threads) {
    SmallFederation federation(settings, {.threads = threads, .record = {}});
    return federation.Play().model_sha256;
  };
  const std::vector<std::string> slow = {
      "simulation.examples_per_second=500", "simulation.link.spread=1.0",
      "simulation.link.latency_ms=30", "simulation.link.bandwidth_up_kbps=50"};
  CHECK(play({}, 1) == play({}, 4));
  CHECK(play(slow, 1) == play(slow, 4));
  CHECK(play({"seed=8"}, 1) != play({}, 1));
}

// Speed and links change when updates arrive, which is no part of the result.
TEST_CASE("Simulation: the order of arrival does not change the model") {
  SmallFederation fast;
  SmallFederation slow({"simulation.examples_per_second=500", "simulation.link.spread=1.0"});
  CHECK(fast.Play().rounds.back().version == slow.Play().rounds.back().version);
}

TEST_CASE("Simulation: a round lasts as long as training where links are unlimited") {
  SmallFederation federation({"simulation.devices=1", "rounds.population_min=1", "rounds.goal=1",
                              "rounds.min_report=1", "rounds.count=1", "training.epochs=3",
                              "simulation.examples_per_second=100"});
  const double seconds = federation.Play().rounds.front().virtual_seconds;
  CHECK(seconds == doctest::Approx(3 * 480 / 100.0).epsilon(0.01));
}

// From opening to publishing: the task comes down, the plan is asked for and comes, the update goes
// up.
TEST_CASE("Simulation: a round lasts four latencies where nothing else takes time") {
  SmallFederation federation({"simulation.devices=1", "rounds.population_min=1", "rounds.goal=1",
                              "rounds.min_report=1", "rounds.count=1",
                              "simulation.link.latency_ms=250"});
  CHECK(federation.Play().rounds.front().virtual_seconds == doctest::Approx(1.0).epsilon(0.01));
}

TEST_CASE("Simulation: a round lasts bytes over bandwidth where the uplink is slow") {
  SmallFederation federation({"simulation.devices=1", "rounds.population_min=1", "rounds.goal=1",
                              "rounds.min_report=1", "rounds.count=1",
                              "model.layers=[\"dense 8000\", \"relu\", \"dense 4\"]",
                              "simulation.link.bandwidth_up_kbps=80"});
  const server::RoundReport round = federation.Play().rounds.front();
  CHECK(round.traffic.bytes_up > 50000);
  CHECK(round.virtual_seconds ==
        doctest::Approx(8e-3 * static_cast<double>(round.traffic.bytes_up) / 80).epsilon(0.01));
}

TEST_CASE("Simulation: devices that vanish do not stop the federation") {
  const std::vector<std::string> settings = {"simulation.link.drop_out=0.3", "rounds.count=12",
                                             "simulation.examples_per_second=1000"};
  SmallFederation federation(settings);
  const server::Report report = federation.Play();
  const auto published =
      std::ranges::count(report.rounds, "published", &server::RoundReport::state);
  CHECK(published == 12);
  CHECK(std::ranges::any_of(report.rounds,
                            [](const auto& round) { return round.accepted < round.cohort; }));
  SmallFederation again(settings, {.threads = 4, .record = {}});
  CHECK(again.Play().model_sha256 == report.model_sha256);
}

TEST_CASE("Simulation: where every device's model diverges it ends and says so") {
  SmallFederation federation({"training.learning_rate=1000", "training.epochs=100"});
  const Result<> played = federation->Run({});
  CHECK(CodeOf(played) == ErrorCode::kNotFinite);
  CHECK(played.error().message.find("a lower learning_rate may help") != std::string::npos);
  CHECK(federation->now() - TimePoint() < 60 * std::chrono::seconds(60));  // Not 100 deadlines.
}

TEST_CASE("Simulation: without enough reports in time it ends with an error") {
  SmallFederation federation({"simulation.link.drop_out=0.999", "rounds.deadline_s=5"});
  CHECK(CodeOf(federation->Run({})) == ErrorCode::kTimeout);
}

TEST_CASE("Simulation: a hello phase asks the cohort before it trains") {
  SmallFederation plain;
  SmallFederation hello({"rounds.phases=[\"hello\", \"collect\"]"});
  const server::Report without = plain.Play();
  const server::Report with = hello.Play();
  CHECK(with.state == "done");
  CHECK(with.rounds.size() == 5);
  CHECK(with.totals.traffic.requests > without.totals.traffic.requests);
}

TEST_CASE("Simulation: updates with a second stream are accepted") {
  SmallFederation federation(
      {"stream=[{name = \"labels\", source = \"label_counts\", recipe = \"raw\", combiner = "
       "\"sum\"}]"});
  const server::Report report = federation.Play();
  CHECK(report.state == "done");
  CHECK(report.totals.accepted == 20);
  CHECK(report.final_accuracy.value_or(0) > 0.85);
}

TEST_CASE("Simulation: smaller updates learn with fewer bytes and the same on 1 and 4 threads") {
  struct Case {
    std::string whole;
    std::string smaller;
    std::uint64_t left_out;  // Parameters of an update.
  };
  const std::string corners = "model.layers=[\"dense 16\", \"relu\", \"dense 4\"]";
  const std::vector<Case> cases = {
      {corners, "model.layers=[\"dense 16 lora=1\", \"relu\", \"dense 4\"]", 2 * 16 - 16},
      {corners, "model.layers=[\"dense 16\", \"relu\", \"dense 4 lora=2 both\"]",
       16 * 4 - 2 * (16 + 4)},
      {"model.layers=[\"dense 16\", \"relu\", \"dense 16\", \"relu\", \"dense 4\"]",
       "model.layers=[\"dense 16\", \"relu\", \"dense 16 fedpara=2\", \"relu\", \"dense 4\"]",
       16 * 16 - 2 * 2 * (16 + 16)},
      {corners, "training.freeze=[\"dense1*\"]", 3 * 16},
  };
  const auto settings = [](const std::string& one) {
    return std::vector<std::string>{one, "rounds.count=15",
                                    "compression.recipe=[{tensors=\"*\", recipe=\"raw\"}]"};
  };
  for (const Case& one : cases) {
    CAPTURE(one.smaller);
    SmallFederation whole(settings(one.whole));
    const server::Report plain = whole.Play();
    SmallFederation smaller(settings(one.smaller));
    const server::Report report = smaller.Play();
    CHECK(report.final_accuracy.value_or(0) > 0.85);
    REQUIRE(report.totals.accepted == plain.totals.accepted);
    CHECK(report.totals.fp32_body_bytes_up == plain.totals.fp32_body_bytes_up);
    // A tensor more costs a few bytes around its numbers.
    const std::uint64_t saved =
        plain.totals.traffic.body_bytes_up - report.totals.traffic.body_bytes_up;
    CHECK(saved + 16 * report.totals.accepted >= one.left_out * 4 * report.totals.accepted);
    const auto exported = Get(nn::ParseModelFile(Get(smaller->ExportModel())));
    const auto expected = Get(nn::ParseModelFile(Get(whole->ExportModel())));
    CHECK(exported.graph().parameters == expected.graph().parameters);
    SmallFederation again(settings(one.smaller), {.threads = 4, .record = {}});
    CHECK(again.Play().model_sha256 == report.model_sha256);
  }
}

// The quickstart's first rounds, with one recipe for all tensors.
server::Report PlayDigits(const std::string& recipe, const std::string& gathered) {
  const std::string root = FL_TEST_SOURCE_DIR;
  const std::string path = root + "/configs/quickstart.toml";
  const std::string text = Get(LoadPlan(path)).source;
  const std::vector<std::string> settings = {
      "rounds.count=5", "deployment.pass=[]", "compression.gathered=\"" + gathered + "\"",
      "compression.recipe=[{tensors=\"*\", recipe=\"" + recipe + "\"}]"};
  return testing::Play(testing::CheckedPlanOf(Get(OverridePlan(text, settings))), root);
}

TEST_CASE("Simulation: auto learns digits within its budget, as well as a recipe by hand") {
  const server::Report automatic = PlayDigits("auto bytes=1200", "auto bytes=1200");
  const server::Report by_hand = PlayDigits("low_rank 6 | quantize step=2", "quantize step=0.7");
  MESSAGE(automatic.final_accuracy.value_or(0), " against ", by_hand.final_accuracy.value_or(0));
  // The server takes no update that is larger than the budget; check-ins are a few bytes more.
  CHECK(automatic.totals.accepted == 50);
  CHECK(automatic.totals.traffic.body_bytes_up < 50 * 1250);
  CHECK(automatic.final_accuracy.value_or(0) > by_hand.final_accuracy.value_or(1) - 0.03);
}

// A link of 400 bytes a second carries 0.7 x 0.6 x 400 = 168 bytes in time.
TEST_CASE("Simulation: with a deadline auto sends what the link carries in time") {
  const auto play = [](const std::string& recipe, std::size_t threads) {
    const std::vector<std::string> settings = {
        "compression.gathered=\"" + recipe + "\"",
        "compression.recipe=[{tensors=\"*\", recipe=\"" + recipe + "\"}]",
        "simulation.link.bandwidth_up_kbps=3.2", "simulation.link.latency_ms=20", "rounds.count=8"};
    SmallFederation federation(settings, {.threads = threads, .record = {}});
    return federation.Play();
  };
  const server::Report free = play("auto bytes=400", 1);
  const server::Report timed = play("auto bytes=400 deadline=0.6s", 1);
  CHECK(timed.totals.accepted == free.totals.accepted);
  const auto bytes = [](const server::RoundReport& round) { return round.traffic.body_bytes_up; };
  CHECK(bytes(timed.rounds.back()) < bytes(free.rounds.back()) * 2 / 3);
  CHECK(timed.rounds.back().virtual_seconds < free.rounds.back().virtual_seconds);
  const server::Report again = play("auto bytes=400 deadline=0.6s", 4);
  CHECK(again.model_sha256 == timed.model_sha256);
  // What was chosen is counted alike, in one order.
  REQUIRE(timed.automatic);
  CHECK(timed.automatic->updates == timed.totals.accepted);
  CHECK(again.automatic->body_bytes == timed.automatic->body_bytes);
  REQUIRE(again.automatic->tensors.size() == timed.automatic->tensors.size());
  for (std::size_t i = 0; i < timed.automatic->tensors.size(); ++i) {
    CHECK(again.automatic->tensors[i].choices == timed.automatic->tensors[i].choices);
  }
}

TEST_CASE("Simulation: the server leaves frozen tensors as the seed made them") {
  for (const char* published : {"aggregation.server_step=1.5", "aggregation.released=\"average\"",
                                "aggregation.publish=\"lattice\""}) {
    CAPTURE(published);
    SmallFederation federation({"training.freeze=[\"dense1*\"]", published});
    federation.Play();
    const nn::ModelFile file = Get(nn::ParseModelFile(Get(federation->ExportModel())));
    const auto plan = CornersPlan();
    const NamedTensors start =
        nn::InitializeParameters(plan->graph, RngStream(plan->plan.seed).Child("model"));
    const auto& model = std::get<nn::FloatModel>(file.model);
    CHECK(std::equal(start.values.begin(), start.values.begin() + 48, model.parameters.begin()));
    CHECK_FALSE(
        std::equal(start.values.begin() + 48, start.values.end(), model.parameters.begin() + 48));
  }
}

TEST_CASE("Simulation: the exported model is the reported one") {
  SmallFederation federation({"rounds.count=2"});
  federation.Play();
  const nn::ModelFile file = Get(nn::ParseModelFile(Get(federation->ExportModel())));
  const auto& model = std::get<nn::FloatModel>(file.model);
  CHECK(model.parameters.size() == 116);
  CHECK(client::ModelDigest(model.parameters).ToHex() == Get(federation->Report()).model_sha256);
}

TEST_CASE("Simulation: a set stop flag ends the run and leaves a report") {
  SmallFederation federation;
  Get(federation->Run([&](const RoundSeen& round) { federation.stop = round.published == 2; }));
  CHECK_FALSE(federation->done());
  const server::Report report = Get(federation->Report());
  CHECK(std::ranges::count(report.rounds, "published", &server::RoundReport::state) == 2);
}

TEST_CASE("Simulation: samples that the model does not take are refused") {
  SystemClock clock;
  const std::atomic<bool> stop{false};
  const Logger log(LogLevel::kOff);
  const auto plan = CornersPlan({"model.input=[3]"});
  CHECK(CodeOf(Simulation::Create(plan, CornersData(*plan), {}, {clock, stop, log})) ==
        ErrorCode::kShapeMismatch);
}

TEST_CASE("Simulation: an idle device's state is small") {
  SmallFederation federation({"compression.residual=false"});
  federation.Play();
  for (std::size_t i = 0; i < federation->devices(); ++i) {
    CHECK(federation->device(i).finished());
    CHECK(federation->device(i).state().Encode().size() < 4096);
  }
}

}  // namespace
}  // namespace fl::sim
