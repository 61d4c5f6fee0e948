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
#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/nn/visit_outputs.h"
#include "fl/compression/deploy/calibration_samples.h"
#include "fl/compression/deploy/federation_ranges.h"
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
data = "digits"
)";

data::Subset Digits(const std::string& part) {
  data::SourceOptions options;
  options.root = FL_TEST_SOURCE_DIR "/data";
  options.shape = Shape{28, 28, 1};
  options.classes = 10;
  options.normalization.kind = data::Normalization::Kind::kUnit;
  return data::Subset(Get(data::OpenSource("idx:mnist-mini/" + part, options)));
}

// Two labels a device; the first one has 20 samples and the last one 12.
Shares TwoLabelsEach(const data::Subset& digits) {
  constexpr std::size_t kSamples[] = {20, 300, 300, 300, 300, 300, 12};
  Shares shares(std::size(kSamples));
  for (std::uint32_t i = 0; i < digits.count(); ++i) {
    const auto label = static_cast<std::size_t>(digits.label(i));
    for (const std::size_t device : {label / 2, label / 2 + 5}) {
      if (device >= shares.size() || shares[device].size() >= kSamples[device]) continue;
      // Neither label may fill a device.
      const auto same = std::ranges::count_if(shares[device], [&](std::uint32_t other) {
        return digits.label(other) == digits.label(i);
      });
      if (static_cast<std::size_t>(same) >= kSamples[device] / 2) continue;
      shares[device].push_back(i);
      break;
    }
  }
  return shares;
}

// The first device's images have that share of the others' brightness.
FederationData DataWith(float brightness) {
  const data::Subset digits = Digits("train");
  FederationData data;
  data.shares = TwoLabelsEach(digits);
  data::Samples samples;
  samples.shape = Shape{28, 28, 1};
  samples.classes = 10;
  std::vector<float> features(digits.count() * 784);
  for (std::size_t i = 0; i < digits.count(); ++i) {
    digits.CopySample(i, std::span(features).subspan(i * 784, 784));
    samples.labels.push_back(digits.label(i));
  }
  for (const std::uint32_t i : data.shares.front()) {
    for (float& value : std::span(features).subspan(std::size_t{i} * 784, 784)) value *= brightness;
  }
  samples.features = std::move(features);
  data.training =
      std::make_shared<const data::Dataset>(Get(data::Dataset::Create(std::move(samples))));
  return data;
}

// What an integer model makes of images.
struct Judged {
  double error = 0;  // Mean square of what its outputs differ by from the released model's.
  double accuracy = 0;
};

// The federation once it is done, and what a test recomputes of it.
struct Played {
  explicit Played(float brightness) : plan(CheckedPlanOf(kDigits)) {
    simulation = Get(Simulation::Create(plan, DataWith(brightness), {.threads = 2, .record = {}},
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

  // On test images, all of full brightness, of this label and those above.
  Judged Judge(ByteSpan model_file, std::int32_t label_least) const {
    const data::Subset unseen = Digits("test");
    std::vector<float> samples;
    std::vector<std::int32_t> labels;
    for (std::size_t i = 0; i < unseen.count(); ++i) {
      if (unseen.label(i) < label_least) continue;
      labels.push_back(unseen.label(i));
      samples.resize(labels.size() * 784);
      unseen.CopySample(i, std::span(samples).last(784));
    }
    const std::size_t count = labels.size();
    REQUIRE(count > 500);
    const auto file = Get(nn::ParseModelFile(model_file));
    nn::IntegerSession session =
        Get(nn::IntegerSession::Create(std::get<nn::QuantizedModel>(file.model), count));
    std::vector<float> found(count * 10);
    session.Run(samples, count, found);
    const std::vector<float> wanted = Get(nn::OutputsOf(
        released.graph, released.parameters, {samples, count}, released.graph.nodes.size() - 1));
    Judged judged;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double difference = static_cast<double>(found[i]) - static_cast<double>(wanted[i]);
      judged.error += difference * difference / static_cast<double>(found.size());
    }
    for (std::size_t i = 0; i < count; ++i) {
      const auto answer =
          static_cast<std::int32_t>(nn::ArgMax(std::span(found).subspan(i * 10, 10)));
      if (answer == labels[i]) judged.accuracy += 1 / static_cast<double>(count);
    }
    return judged;
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
  const Played played(1);
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

  const double error = played.Judge(installed, 2).error;
  const double own_error = played.Judge(own.model_file, 2).error;
  MESSAGE("mean square error: " << error << " with the federation's ranges, " << own_error
                                << " with its own");
  CHECK(error < 0.5 * own_error);
}

TEST_CASE("Calibration: a device of dim images keeps its accuracy on bright ones") {
  const Played played(0.25F);
  const Bytes& installed = played.simulation->device(0).installed();
  REQUIRE_FALSE(installed.empty());
  const client::DeploymentResult own = played.Deploy(std::nullopt);
  REQUIRE_MESSAGE(own.installed, own.reason);
  const Judged with = played.Judge(installed, 0);
  const Judged without = played.Judge(own.model_file, 0);
  MESSAGE("accuracy " << with.accuracy << ", error " << with.error << "; with own ranges "
                      << without.accuracy << ", error " << without.error);
  CHECK(with.accuracy > without.accuracy + 0.05);
  CHECK(with.error < 0.01 * without.error);
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
