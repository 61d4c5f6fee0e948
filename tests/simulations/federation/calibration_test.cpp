#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "fl/client/deploy/deployment_job.h"
#include "fl/common/crypto/sha256.h"
#include "fl/common/data/source.h"
#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/nn/visit_outputs.h"
#include "fl/compression/deploy/calibration_samples.h"
#include "fl/compression/deploy/federation_ranges.h"
#include "fl/compression/samples/plan_samples.h"
#include "fl/simulations/population/population.h"
#include "fl/tests/simulations/play.h"
#include "fl/tests/simulations/small_federation.h"

// A federation that calibrates one set of ranges, without a sample leaving a device.
namespace fl::sim {
namespace {

using testing::CheckedPlanOf;
using testing::Get;
using testing::SmallFederation;

constexpr const char* kDigits = R"(name = "digits"
seed = 1
[model]
input = [28, 28, 1]
layers = ["maxpool 2", "flatten", "dense 32", "relu", "dense 16", "relu", "dense 10"]
[data]
normalize = "unit"
holdout = 0.5
[training]
batch_size = 10
learning_rate = 0.1
[rounds]
count = 40
population_min = 7
goal = 7
min_report = 7
[deployment]
version = 1
drop_points_max = 100.0
made_below = 0
[[deployment.pass]]
pass = "ptq_static"
ranges = "federation"
samples = 128
[[deployment.pass]]
pass = "verify"
[simulation]
devices = 7
data = "idx:mnist-mini/train"
)";

// Two labels a device; the first one has 20 samples and the last one 12.
Shares TwoLabelsEach(const data::Dataset& dataset) {
  constexpr std::size_t kSamples[] = {20, 300, 300, 300, 300, 300, 12};
  Shares shares(std::size(kSamples));
  for (std::uint32_t i = 0; i < dataset.count(); ++i) {
    const auto label = static_cast<std::size_t>(dataset.labels()[i]);
    for (const std::size_t device : {label / 2, label / 2 + 5}) {
      if (device >= shares.size() || shares[device].size() >= kSamples[device]) continue;
      // Neither label may fill a device.
      const auto same = std::ranges::count_if(shares[device], [&](std::uint32_t other) {
        return dataset.labels()[other] == dataset.labels()[i];
      });
      if (static_cast<std::size_t>(same) >= kSamples[device] / 2) continue;
      shares[device].push_back(i);
      break;
    }
  }
  return shares;
}

// The federation once it is done, and what a test recomputes of it.
struct Played {
  Played() : plan(CheckedPlanOf(kDigits)) {
    FederationData data = Get(LoadFederationData(*plan, {FL_TEST_SOURCE_DIR "/data"}));
    data.shares = TwoLabelsEach(*data.training);
    simulation = Get(Simulation::Create(plan, std::move(data), {.threads = 2, .record = {}},
                                        {clock, stop, log}));
    Get(simulation->Run({}));
    report = Get(simulation->Report());
    const auto file = Get(nn::ParseModelFile(Get(simulation->ExportModel())));
    released = std::get<nn::FloatModel>(file.model);
  }

  // As each device does it, but on all devices' samples at once.
  std::vector<nn::ActivationRange> PooledRanges() const {
    std::vector<float> pooled;
    std::size_t count = 0;
    for (std::size_t i = 0; i < simulation->devices(); ++i) {
      const client::LocalData& own = simulation->device(i).data();
      const deploy::SampleBlock block =
          deploy::CalibrationSamples(own.calibration, own.training, plan->calibration->samples);
      pooled.insert(pooled.end(), block.values.begin(), block.values.end());
      count += block.count;
    }
    CHECK(report.calibration->samples == count);
    return Get(Get(nn::Calibrate(released.graph, released.parameters, pooled, count))
                   .Ranges(plan->calibration->options));
  }

  // What the first device makes of the released model, with these ranges or its own.
  client::DeploymentResult Deploy(std::optional<deploy::RangesByNode> ranges) const {
    client::DeploymentJob job;
    job.task.kind = wire::TaskKind::kDeploy;
    job.task.model.version = plan->plan.rounds.count;
    job.task.model.digest = client::ModelDigest(released.parameters);
    job.client = DeviceName(0);
    job.plan = plan;
    auto model = std::make_shared<NamedTensors>(plan->graph.parameters);
    model->values = released.parameters;
    job.model = std::move(model);
    job.ranges = std::move(ranges);
    return Get(client::RunDeployment(job, simulation->device(0).data(), stop));
  }

  // Mean square of what the integer model's outputs differ by from the released model's, on test
  // images of labels that the first device has never seen.
  double ErrorOnOtherLabels(ByteSpan model_file) const {
    data::SourceOptions options = Get(SourceOptionsOf(*plan));
    options.root = FL_TEST_SOURCE_DIR "/data";
    const auto dataset = Get(data::OpenSource("idx:mnist-mini/test", options));
    const data::Subset unseen(dataset);
    std::vector<float> samples;
    std::size_t count = 0;
    for (std::size_t i = 0; i < unseen.count(); ++i) {
      if (unseen.label(i) < 2) continue;
      samples.resize((count + 1) * 784);
      unseen.CopySample(i, std::span(samples).subspan(count++ * 784));
    }
    REQUIRE(count > 500);
    const auto file = Get(nn::ParseModelFile(model_file));
    nn::IntegerSession session =
        Get(nn::IntegerSession::Create(std::get<nn::QuantizedModel>(file.model), count));
    std::vector<float> found(count * 10);
    session.Run(samples, count, found);
    const std::vector<float> wanted = Get(nn::OutputsOf(
        released.graph, released.parameters, {samples, count}, released.graph.nodes.size() - 1));
    double sum = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double difference = static_cast<double>(found[i]) - static_cast<double>(wanted[i]);
      sum += difference * difference;
    }
    return sum / static_cast<double>(found.size());
  }

  SystemClock clock;
  std::atomic<bool> stop{false};
  Logger log{LogLevel::kOff};
  std::shared_ptr<const CheckedPlan> plan;
  std::unique_ptr<Simulation> simulation;
  server::Report report;
  nn::FloatModel released;
};

TEST_CASE("Calibration: a device with 20 samples of two labels gets the ranges of all samples") {
  const Played played;
  REQUIRE(played.report.calibration.has_value());
  CHECK(played.report.calibration->devices == 7);
  CHECK(played.report.deployment.size() == 7);
  const std::vector<nn::ActivationRange> pooled = played.PooledRanges();
  const Bytes bytes = deploy::EncodeRanges(pooled);
  CHECK(played.report.calibration->ranges_sha256 == crypto::Sha256(bytes).ToHex());

  const Bytes& installed = played.simulation->device(0).installed();
  const client::DeploymentResult with =
      played.Deploy(Get(deploy::DecodeRanges(bytes, played.plan->calibration->graph)));
  REQUIRE_MESSAGE(with.installed, with.reason);
  CHECK(with.model_file == installed);
  const client::DeploymentResult own = played.Deploy(std::nullopt);
  REQUIRE_MESSAGE(own.installed, own.reason);

  const double error = played.ErrorOnOtherLabels(installed);
  const double own_error = played.ErrorOnOtherLabels(own.model_file);
  MESSAGE("mean square error: " << error << " with the federation's ranges, " << own_error
                                << " with its own");
  CHECK(error < 0.5 * own_error);
}

TEST_CASE("Calibration: all devices round over the same ranges, on any number of threads") {
  const std::vector<std::string> settings = {
      "simulation.link.drop_out=0.2", "simulation.examples_per_second=1000",
      "deployment={version=1, drop_points_max=100.0, made_below=0, pass=[{pass=\"ptq_static\", "
      "ranges=\"federation\"}, {pass=\"verify\"}]}"};
  std::string ranges;
  for (const std::size_t threads : {std::size_t{1}, std::size_t{4}}) {
    SmallFederation federation(settings, {.threads = threads, .record = {}});
    const server::Report report = federation.Play();
    REQUIRE(report.calibration.has_value());
    CHECK(report.calibration->devices >= 2);
    CHECK_FALSE(report.calibration->ranges_sha256.empty());
    if (ranges.empty()) ranges = report.calibration->ranges_sha256;
    CHECK(report.calibration->ranges_sha256 == ranges);
    std::vector<nn::ActivationScale> scales;
    for (std::size_t i = 0; i < federation->devices(); ++i) {
      if (federation->device(i).installed().empty()) continue;
      const auto file = Get(nn::ParseModelFile(federation->device(i).installed()));
      const auto& found = std::get<nn::QuantizedModel>(file.model).activations;
      if (scales.empty()) scales = found;
      CHECK(found == scales);
    }
    CHECK_FALSE(scales.empty());
  }
}

}  // namespace
}  // namespace fl::sim
