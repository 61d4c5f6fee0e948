#include "fl/compression/deploy/passes/ptq_dynamic.h"

#include <doctest/doctest.h>

#include "fl/common/nn/model_file.h"
#include "fl/compression/deploy/passes/ptq_static.h"
#include "fl/compression/deploy/run_passes.h"
#include "fl/tests/compression/deploy/trained_digits.h"

namespace fl::deploy {
namespace {

using testing::Convolutions;
using testing::TrainedDigits;

// What a pass makes of the trained digits; it may look at `samples`.
nn::QuantizedModel Quantized(const Pass& pass, const data::Subset& samples) {
  const TrainedDigits& digits = Convolutions();
  const std::atomic<bool> stop = false;
  WorkingModel model{.graph = digits.graph, .parameters = digits.parameters};
  PassReport report;
  const auto run = pass.Run({.teacher = {digits.graph, digits.parameters},
                             .training = samples,
                             .calibration = samples,
                             .verification = digits.unseen,
                             .gate = {},
                             .rng = RngStream(1),
                             .stop = stop,
                             .normalization = "unit",
                             .labels = {},
                             .notes = {}},
                            model, report);
  REQUIRE(run);
  return *model.quantized;
}

// The unseen digits, `factor` times as large.
data::Subset Scaled(float factor) {
  const data::Subset& unseen = Convolutions().unseen;
  data::Samples samples;
  samples.shape = Shape{28, 28, 1};
  samples.classes = 10;
  std::vector<float> features(unseen.count() * 784);
  for (std::size_t i = 0; i < unseen.count(); ++i) {
    unseen.CopySample(i, std::span(features).subspan(i * 784, 784));
    samples.labels.push_back(unseen.label(i));
  }
  for (float& value : features) value *= factor;
  samples.features = std::move(features);
  return data::Subset(
      std::make_shared<data::Dataset>(testing::Get(data::Dataset::Create(std::move(samples)))));
}

TEST_CASE(
    "ptq_dynamic: without any sample as good as calibrated ranges, and better on large inputs") {
  const TrainedDigits& digits = Convolutions();
  const data::Subset none(digits.training.shared_dataset(), {});
  const nn::QuantizedModel dynamic = Quantized(PtqDynamic({}), none);
  const nn::QuantizedModel fixed = Quantized(PtqStatic({}), digits.training);
  const double dynamic_accuracy = testing::Get(Accuracy(dynamic, digits.unseen));
  CHECK(dynamic_accuracy > testing::Get(Accuracy(fixed, digits.unseen)) - 0.005);
  CHECK(dynamic_accuracy > digits.AccuracyOf(digits.graph, digits.parameters) - 0.005);

  const data::Subset large = Scaled(10);
  const double exact = testing::Get(Accuracy(digits.graph, digits.parameters, large));
  const double dynamic_large = testing::Get(Accuracy(dynamic, large));
  const double fixed_large = testing::Get(Accuracy(fixed, large));
  MESSAGE("10 times as large: fp32 " << exact << ", dynamic " << dynamic_large << ", static "
                                     << fixed_large);
  CHECK(dynamic_large > exact - 0.01);
  CHECK(fixed_large < dynamic_large - 0.01);
}

TEST_CASE("ptq_dynamic: obeys the precision of the nodes and what was rounded before") {
  const TrainedDigits& digits = Convolutions();
  const std::atomic<bool> stop = false;
  WorkingModel model{.graph = digits.graph, .parameters = digits.parameters};
  model.precision["conv1"] = {.bits = 5};
  PassReport report;
  const PassInputs inputs{.teacher = {digits.graph, digits.parameters},
                          .training = digits.training,
                          .calibration = digits.training,
                          .verification = digits.unseen,
                          .gate = {},
                          .rng = RngStream(1),
                          .stop = stop,
                          .normalization = "unit",
                          .labels = {},
                          .notes = {}};
  REQUIRE(PtqDynamic({.weights = {{.bits = 4}, {}}}).Run(inputs, model, report));
  CHECK(model.quantized->nodes[2].coding.bits == 5);
  CHECK(model.quantized->nodes.back().coding.bits == 4);
  model.precision = {{"nowhere", {}}};
  CHECK(testing::CodeOf(PtqDynamic({}).Run(inputs, model, report)) == ErrorCode::kNotFound);
}

PassList Read(const std::vector<std::string>& names, Result<>& outcome) {
  DeploymentConfig deployment;
  for (std::uint32_t i = 0; i < names.size(); ++i)
    deployment.passes.push_back({{names[i], {i + 1, 1}}, {}});
  auto list = ParsePassList(deployment, Convolutions().graph, PassListUse::kDevice);
  if (!list) {
    outcome = list.error();
    return {};
  }
  return *std::move(list);
}

TEST_CASE("ptq_dynamic: a device may have it instead of ptq_static, not beside it") {
  Result<> outcome;
  CHECK(Read({"ptq_dynamic", "verify"}, outcome).size() == 2);
  CHECK(outcome);
  Read({"ptq_static", "ptq_dynamic", "verify"}, outcome);
  REQUIRE(!outcome);
  CHECK(outcome.error().message.find("ptq_static") != std::string::npos);
  outcome = {};
  Read({"verify", "ptq_dynamic"}, outcome);
  REQUIRE(!outcome);
  CHECK(outcome.error().message.find("ptq_dynamic must come before verify") != std::string::npos);
}

}  // namespace
}  // namespace fl::deploy
