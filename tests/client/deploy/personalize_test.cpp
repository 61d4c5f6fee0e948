#include "fl/client/deploy/personalize.h"

#include <doctest/doctest.h>

#include "fl/client/deploy/deployment_job.h"
#include "fl/client/deploy/local_model.h"
#include "fl/common/nn/materialize.h"
#include "fl/compression/deploy/gate.h"
#include "fl/tests/client/fake_federation.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::MakePlan;
using testing::PlanText;

// The global model knows the largest of the first three features; the device's own classes are
// named in another order, of which the global model knows nothing.
struct Bench {
  explicit Bench(bool is_peculiar, const std::string& keys = {})
      : plan(MakePlan(PlanText("raw", "\n[deployment]\nversion = 1\n" + keys +
                                          "\n[[deployment.pass]]\npass = \"ptq_static\"\n\n"
                                          "[[deployment.pass]]\npass = \"verify\"\n"))),
        data(SplitLocalData(data::Subset(Samples(is_peculiar)), plan->plan, "device")),
        global{plan->graph, std::vector<float>(plan->graph.parameters.total(), 0)} {
    for (std::size_t i = 0; i < 3; ++i) global.parameters[i * 3 + i] = 5;
  }

  static std::shared_ptr<const data::Dataset> Samples(bool is_peculiar) {
    data::Samples samples = testing::MakeSamples(300)->samples();
    for (std::int32_t& label : samples.labels) {
      if (is_peculiar && label > 0) label = 3 - label;
    }
    return std::make_shared<const data::Dataset>(Get(data::Dataset::Create(std::move(samples))));
  }

  Personalized Run(const PersonalizeConfig& config) const {
    return Get(Personalize(config, global, data, RngStream(1), stop));
  }

  std::atomic<bool> stop = false;
  std::shared_ptr<const CheckedPlan> plan;
  LocalData data;
  nn::FloatModel global;
};

constexpr PersonalizeConfig kConfig{.steps = 300, .learning_rate = 0.2, .proximal = 0.01};

TEST_CASE("Personalize: a device that differs from the others gains by it") {
  const Bench bench(true);
  const Personalized outcome = bench.Run(kConfig);
  CHECK(outcome.kept);
  CHECK(outcome.global_accuracy < 0.6);
  CHECK(outcome.personal_accuracy > 0.9);
  CHECK(Get(deploy::Accuracy(outcome.model.graph, outcome.model.parameters,
                             bench.data.verification)) > 0.9);
  CHECK(bench.Run(kConfig).model.parameters == outcome.model.parameters);
}

TEST_CASE("Personalize: where it does not help the global model stays to the last bit") {
  const Bench bench(false);
  const Personalized outcome = bench.Run(kConfig);
  CHECK(outcome.global_accuracy == 1);
  CHECK_FALSE(outcome.kept);
  CHECK(outcome.model.parameters == bench.global.parameters);
  CHECK(outcome.line.find("not kept") != std::string::npos);
}

TEST_CASE("Personalize: the proximal term holds the weights back") {
  const Bench bench(true);
  const auto distance = [&](double proximal) {
    PersonalizeConfig config = kConfig;
    config.steps = 500;
    config.proximal = proximal;
    const Personalized outcome = bench.Run(config);
    double squares = 0;
    for (std::size_t i = 0; i < bench.global.parameters.size(); ++i) {
      const float moved = outcome.model.parameters[i] - bench.global.parameters[i];
      squares += static_cast<double>(moved * moved);
    }
    return squares;
  };
  const double free = distance(0);
  const double held = distance(0.05);
  REQUIRE(held > 0);
  CHECK(held < 0.5 * free);
}

TEST_CASE("Personalize: no samples and a stop are errors") {
  Bench bench(true);
  const LocalData none = SplitLocalData(data::Subset(bench.data.training.shared_dataset(), {}),
                                        bench.plan->plan, "device");
  CHECK(CodeOf(Personalize(kConfig, bench.global, none, RngStream(1), bench.stop)) ==
        ErrorCode::kInvalidArgument);
  bench.stop = true;
  CHECK(CodeOf(Personalize(kConfig, bench.global, bench.data, RngStream(1), bench.stop)) ==
        ErrorCode::kUnavailable);
}

TEST_CASE("RunDeployment: the pass list starts from the personal model") {
  const auto deploy = [](const std::string& keys) {
    const Bench bench(true, keys);
    DeploymentJob job;
    job.task.kind = wire::TaskKind::kDeploy;
    job.client = "device";
    job.plan = bench.plan;
    NamedTensors model(bench.plan->graph.parameters);
    model.values = bench.global.parameters;
    job.model = std::make_shared<NamedTensors>(std::move(model));
    return Get(RunDeployment(job, bench.data, bench.stop));
  };
  const DeploymentResult plain = deploy("");
  const DeploymentResult personal =
      deploy("[deployment.personalize]\nsteps = 300\nlearning_rate = 0.2\nproximal = 0.01\n");
  CHECK(plain.local_accuracy < 0.6);
  CHECK(personal.local_accuracy > 0.9);
  CHECK(personal.installed);
  CHECK(personal.report.front().starts_with("personalize: 300 steps"));
  CHECK(personal.teacher_accuracy == plain.teacher_accuracy);
}

}  // namespace
}  // namespace fl::client
