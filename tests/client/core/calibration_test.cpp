#include <algorithm>
#include <limits>
#include <string>

#include <doctest/doctest.h>

#include "fl/client/core/client_core.h"
#include "fl/client/train/calibrate_samples.h"
#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/materialize.h"
#include "fl/common/wire/update.h"
#include "fl/compression/deploy/calibration_samples.h"
#include "fl/compression/deploy/federation_ranges.h"
#include "fl/tests/client/fake_federation.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::Device;
using testing::FakeServer;
using testing::MakeData;
using testing::MakePlan;
using testing::PlanText;

std::string CalibratingPlan(const std::string& ranges = "federation") {
  return PlanText("raw",
                  "\n[deployment]\nversion = 1\nmade_below = 0\ndrop_points_max = 100.0\n"
                  "[[deployment.pass]]\npass = \"ptq_static\"\nsamples = 12\nranges = \"" +
                      ranges + "\"\n[[deployment.pass]]\npass = \"verify\"\n");
}

// What the histograms of an update count, node by node.
std::vector<nn::Histogram> HistogramsOf(ByteSpan update) {
  const auto view = Get(wire::DecodeUpdate(update, {}));
  REQUIRE(view.streams.size() == 1);
  CHECK(view.streams.front().id == wire::kStreamCalibration);
  std::vector<nn::Histogram> histograms;
  for (const wire::UpdateEntryView& entry : view.streams.front().entries) {
    CHECK(entry.segment == histograms.size());
    histograms.push_back(Get(nn::Histogram::Decode(entry.payload)));
  }
  return histograms;
}

bool Logged(const Device& device, const std::string& part) {
  return std::ranges::any_of(device.messages, [&](const std::string& message) {
    return message.find(part) != std::string::npos;
  });
}

TEST_CASE("ClientCore: a task to calibrate sends histograms of the received model and no more") {
  FakeServer server(CalibratingPlan());
  server.kind = wire::TaskKind::kCalibrate;
  server.rounds = 1;
  MemoryContentCache cache;
  const LocalData data = MakeData(server.plan());
  Device device(server, cache, data);
  const NamedTensors model = server.model();
  REQUIRE(device.Run());
  REQUIRE(server.accepted.size() == 1);
  const auto view = Get(wire::DecodeUpdate(server.accepted.front(), {}));
  CHECK(view.examples == 12);
  const deploy::SampleBlock block = deploy::CalibrationSamples(data.calibration, data.training, 12);
  const nn::FloatModel received = Get(nn::Materialize(server.plan().graph, model.values));
  CHECK(HistogramsOf(server.accepted.front()) ==
        Get(nn::Calibrate(received.graph, received.parameters, block.values, block.count))
            .histograms);
  CHECK(device.state.counters.trained == 0);
  CHECK(device.state.counters.evaluated == 0);
  const auto record = std::ranges::find(device.activities, "calibrated", &RecordActivity::what);
  REQUIRE(record != device.activities.end());
  CHECK(record->examples == 12);
  CHECK(record->detail.starts_with("values of 2 nodes counted on 12 samples, "));
}

TEST_CASE("ClientCore: an update with histograms is staged, and sent after a restart") {
  FakeServer server(CalibratingPlan());
  server.kind = wire::TaskKind::kCalibrate;
  server.rounds = 1;
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  device.kills = [](const ClientCommand& command) {
    const auto* send = std::get_if<SendRequest>(&command);
    return send != nullptr && send->request.method == "PUT";
  };
  CHECK_FALSE(device.Run());
  CHECK(server.accepted.empty());
  device.kills = nullptr;
  REQUIRE(device.Run());
  CHECK(server.accepted.size() == 1);
  CHECK(device.trainings == 1);
}

TEST_CASE("ClientCore: a task to calibrate that the plan does not ask for is given up") {
  FakeServer server(CalibratingPlan("own"));
  wire::CheckInAnswer answer = server.Idle();
  server.kind = wire::TaskKind::kCalibrate;
  answer.task = server.MakeTask(std::nullopt);
  server.kind = wire::TaskKind::kTrain;
  server.scripted = answer;
  MemoryContentCache cache;
  Device device(server, cache, MakeData(server.plan()));
  REQUIRE(device.Run());
  CHECK(server.accepted.size() == 3);
  CHECK(Logged(device, "which the plan does not ask for"));
}

TEST_CASE("ClientCore: a deployment gets the federation's ranges where the task names them") {
  for (const bool named : {true, false}) {
    FakeServer server(CalibratingPlan());
    server.kind = wire::TaskKind::kDeploy;
    server.rounds = 1;
    const std::vector<nn::ActivationRange> ranges = {{-3, 4}, {-5, 6}};
    const Digest blob = server.AddBlob(deploy::EncodeRanges(ranges));
    if (named) server.parameters_of = [&](std::uint64_t) { return blob; };
    MemoryContentCache cache;
    const LocalData data = MakeData(server.plan());
    Device device(server, cache, data);
    std::optional<DeploymentJob> seen;
    device.deploys = [&](const DeploymentJob& job) {
      seen = job;
      return Get(RunDeployment(job, data, std::atomic<bool>(false)));
    };
    REQUIRE(device.Run());
    REQUIRE(seen.has_value());
    REQUIRE(seen->ranges.has_value() == named);
    if (named) CHECK(seen->ranges->at("dense1") == ranges[1]);
    CHECK(Logged(device, named ? "over the federation's ranges" : "there are no ranges of"));
  }
}

TEST_CASE("ClientCore: ranges that are none of the plan's model are given up, and it goes on") {
  const std::vector<nn::ActivationRange> one = {{-3, 4}};
  const std::vector<nn::ActivationRange> infinite = {{-3, 4},
                                                     {0, std::numeric_limits<float>::infinity()}};
  for (const Bytes& wrong : {deploy::EncodeRanges(one), deploy::EncodeRanges(infinite), Bytes(7)}) {
    FakeServer server(CalibratingPlan());
    const std::vector<nn::ActivationRange> ranges = {{-3, 4}, {-5, 6}};
    const Digest bad = server.AddBlob(wrong);
    const Digest good = server.AddBlob(deploy::EncodeRanges(ranges));
    int asked = 0;
    server.kind = wire::TaskKind::kDeploy;
    server.rounds = 1;
    server.parameters_of = [&](std::uint64_t) { return asked++ == 0 ? bad : good; };
    MemoryContentCache cache;
    const LocalData data = MakeData(server.plan());
    Device device(server, cache, data);
    int deployments = 0;
    device.deploys = [&](const DeploymentJob& job) {
      ++deployments;
      return Get(RunDeployment(job, data, std::atomic<bool>(false)));
    };
    REQUIRE(device.Run());
    CHECK(deployments == 1);
    CHECK(server.accepted.size() == 1);
    CHECK(Logged(device, "gives up the task: ranges: "));
  }
}

TEST_CASE("CalibrateSamples: a device whose samples tell nothing has nothing to send") {
  const auto plan = MakePlan(CalibratingPlan());
  NamedTensors model(plan->graph.parameters);
  std::ranges::fill(model.values, 0.5F);
  const LocalData data = MakeData(*plan);
  const data::Subset none(data.training.shared_dataset(), {});
  const CalibratedSamples without = Get(CalibrateSamples(*plan, model, {none, none, none, none}));
  CHECK(without.samples == 0);
  CHECK(without.stream.entries.empty());
  CHECK(without.detail.starts_with("nothing to send: "));
  std::ranges::fill(model.values, std::numeric_limits<float>::max());
  CHECK(Get(CalibrateSamples(*plan, model, data)).samples == 0);
  std::ranges::fill(model.values, 0.5F);
  CHECK(Get(CalibrateSamples(*plan, model, data)).samples == 12);
}

}  // namespace
}  // namespace fl::client
