#include "fl/client/deploy/made_samples.h"

#include <algorithm>
#include <numeric>

#include <doctest/doctest.h>

#include "fl/common/config/pass_file.h"
#include "fl/common/nn/model_file.h"
#include "fl/compression/deploy/pass_list.h"
#include "fl/compression/deploy/run_passes.h"
#include "fl/tests/compression/deploy/trained_digits.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using deploy::testing::Perceptron;
using deploy::testing::TrainedDigits;
using fl::testing::Get;

const std::atomic<bool> kGo = false;

data::Subset Part(const data::Subset& samples, std::uint32_t first, std::uint32_t count) {
  std::vector<std::uint32_t> indices(count);
  std::iota(indices.begin(), indices.end(), first);
  return {samples.shared_dataset(), indices};
}

// A device with 16 digits to train on, one to calibrate with and three to verify with.
LocalData FewDigits() {
  const data::Subset& digits = Perceptron().training;
  return {Part(digits, 100, 16), Part(digits, 116, 4), Part(digits, 116, 1), Part(digits, 117, 3)};
}

Result<DeploymentData> WithMade(const LocalData& own, std::uint32_t made_below,
                                const std::atomic<bool>& stop = kGo) {
  const TrainedDigits& teacher = Perceptron();
  return WithMadeSamples(own, made_below, {teacher.graph, teacher.parameters}, RngStream(7), stop);
}

// The accuracy on unseen digits of the local model that comes of the samples.
double UnseenAccuracy(const DeploymentData& ample) {
  const TrainedDigits& teacher = Perceptron();
  const DeploymentConfig config = Get(ParsePassFile(R"(
[deployment]
[[deployment.pass]]
pass = "distil"
layers = ["maxpool 2", "flatten", "dense 32", "relu", "dense 10"]
epochs = 30
[[deployment.pass]]
pass = "ptq_static"
[[deployment.pass]]
pass = "verify"
)",
                                                    "list"));
  const deploy::PassList passes =
      Get(deploy::ParsePassList(config, teacher.graph, deploy::PassListUse::kDevice));
  const deploy::PassInputs inputs{{teacher.graph, teacher.parameters},
                                  ample.training,
                                  ample.calibration,
                                  ample.verification,
                                  {},
                                  RngStream(1),
                                  kGo,
                                  {},
                                  {},
                                  {}};
  const deploy::DeployReport report = Get(deploy::RunPasses(passes, inputs));
  const nn::ModelFile file = Get(nn::ParseModelFile(report.model));
  return Get(deploy::Accuracy(std::get<nn::QuantizedModel>(file.model), teacher.unseen));
}

TEST_CASE("WithMadeSamples: a device with few samples gets a better local model") {
  const LocalData own = FewDigits();
  const double alone = UnseenAccuracy(Get(WithMade(own, 0)));
  const double helped = UnseenAccuracy(Get(WithMade(own, 50)));
  CAPTURE(alone);
  CAPTURE(helped);
  CHECK(helped > alone + 0.05);
}

TEST_CASE(
    "WithMadeSamples: made ones are added to the own ones, disjoint, in the teacher's answers") {
  const LocalData own = FewDigits();
  const DeploymentData ample = Get(WithMade(own, 50));
  CHECK(ample.training.count() == 16 + 800);
  CHECK(ample.calibration.count() == 1);
  CHECK(ample.verification.count() == 3 + 200);
  CHECK(ample.line.find("the device has 20 of its own") != std::string::npos);
  std::vector<std::uint32_t> all(ample.training.indices().begin(), ample.training.indices().end());
  for (const data::Subset* part : {&ample.calibration, &ample.verification})
    all.insert(all.end(), part->indices().begin(), part->indices().end());
  std::ranges::sort(all);
  CHECK(std::ranges::adjacent_find(all) == all.end());

  std::vector<float> mine(784);
  std::vector<float> kept(784);
  own.training.CopySample(5, mine);
  ample.training.CopySample(5, kept);
  CHECK(kept == mine);
  CHECK(ample.training.label(5) == own.training.label(5));
  const data::Subset agreement(
      ample.verification.shared_dataset(),
      {ample.verification.indices().begin() + 3, ample.verification.indices().end()});
  CHECK(Get(deploy::Accuracy(Perceptron().graph, Perceptron().parameters, agreement)) == 1.0);
  const DeploymentData again = Get(WithMade(own, 50));
  CHECK(again.training.dataset().samples() == ample.training.dataset().samples());
}

TEST_CASE("WithMadeSamples: enough samples stay as they are, and a stop is heard") {
  const LocalData own = FewDigits();
  const DeploymentData same = Get(WithMade(own, 20));
  CHECK(same.training.shared_dataset() == own.training.shared_dataset());
  CHECK(same.verification.count() == 3);
  CHECK(same.line.empty());
  const std::atomic<bool> stop = true;
  CHECK(fl::testing::CodeOf(WithMade(own, 21, stop)) == ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace fl::client
