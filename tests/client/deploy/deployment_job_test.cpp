#include "fl/client/deploy/deployment_job.h"

#include <doctest/doctest.h>

#include "fl/client/deploy/local_model.h"
#include "fl/client/train/trainer.h"
#include "fl/common/nn/initialize.h"
#include "fl/common/wire/update.h"
#include "fl/tests/client/fake_federation.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using fl::testing::CodeOf;
using fl::testing::Get;
using testing::MakeData;
using testing::MakePlan;
using testing::PlanText;

// A trained teacher and a device with 200 samples.
struct Bench {
  explicit Bench(const std::string& layer = "dense 3", const std::string& data_keys = "",
                 const std::string& deployment_keys = "")
      : plan(MakePlan(Text(layer, data_keys, deployment_keys))),
        data(MakeData(*plan, 200)),
        teacher(nn::InitializeParameters(plan->graph, RngStream(1))) {
    const Trainer trainer(plan->graph, plan->plan.training, 1, stop);
    for (std::uint64_t i = 0; i < 5; ++i) {
      const LocalDelta local = Get(trainer.Train(teacher, data.training, RngStream(i)));
      for (std::size_t k = 0; k < teacher.values.size(); ++k) {
        teacher.values[k] += local.delta.values[k];
      }
    }
  }

  static std::string Text(const std::string& layer, const std::string& data_keys,
                          const std::string& deployment_keys) {
    std::string text = PlanText("raw", "\n[deployment]\nversion = 1\n" + deployment_keys +
                                           "\n"
                                           "[[deployment.pass]]\npass = \"ptq_static\"\n\n"
                                           "[[deployment.pass]]\npass = \"verify\"\n");
    text.insert(text.find("holdout"), data_keys);
    return text.replace(text.find("dense 3"), 7, layer);
  }

  DeploymentResult Deploy(const NamedTensors& model, Bytes installed = {}) const {
    return Deploy(model, std::move(installed), data);
  }
  DeploymentResult Deploy(const NamedTensors& model, Bytes installed,
                          const LocalData& samples) const {
    DeploymentJob job;
    job.task.id = 5;
    job.task.kind = wire::TaskKind::kDeploy;
    job.client = "device";
    job.plan = plan;
    job.model = std::make_shared<NamedTensors>(model);
    job.installed = std::move(installed);
    return Get(RunDeployment(job, samples, stop));
  }

  // The teacher, but for the last class, which it never says.
  NamedTensors ForgetfulTeacher() const {
    NamedTensors model = teacher;
    model.tensor(*model.layout.Find("dense1.bias")).back() = -100.0F;
    return model;
  }

  std::atomic<bool> stop = false;
  std::shared_ptr<const CheckedPlan> plan;
  LocalData data;
  NamedTensors teacher;
};

TEST_CASE("RunDeployment: a model with factors is deployed as a plain one of integers") {
  for (const char* layer : {"dense 3 lora=2", "dense 3 lora=1 both", "dense 3 fedpara=3"}) {
    CAPTURE(layer);
    const Bench bench(layer);
    const DeploymentResult result = bench.Deploy(bench.teacher);
    CHECK(result.installed);
    CHECK(result.local_accuracy > 0.85);
    const LocalModel model = Get(LocalModel::Load(result.model_file));
    CHECK(model.is_integer());
    CHECK(model.graph().parameters ==
          TensorLayout({{"dense1.weight", {4, 3}}, {"dense1.bias", {3}}}));
  }
}

TEST_CASE("RunDeployment: a normalization fitted on the device goes with its model") {
  const Bench bench("dense 3", "normalize = \"fitted\"\n");
  const DeploymentResult result = bench.Deploy(bench.teacher);
  CHECK(result.installed);
  const data::Normalization& fitted = bench.data.training.dataset().normalization();
  CHECK(fitted.mean.size() == 4);
  CHECK(fitted == data::FitStandard(bench.data.training, data::FitScope::kFeature));
  CHECK(bench.data.verification.dataset().normalization() == fitted);
  CHECK(Get(LocalModel::Load(result.model_file)).normalization() == fitted);
}

TEST_CASE("RunDeployment: a good model is installed and reported") {
  const Bench bench;
  const DeploymentResult result = bench.Deploy(bench.teacher);
  CHECK(result.installed);
  CHECK(result.local_accuracy > 0.9);
  CHECK(result.model_bytes == result.model_file.size());
  const auto view = Get(wire::DecodeUpdate(result.update, {}));
  CHECK(view.task.value == 5);
  REQUIRE(view.streams.size() == 1);
  CHECK(view.streams.front().id == wire::kStreamMetrics);
  LocalModel model = Get(LocalModel::Load(result.model_file));
  CHECK(model.is_integer());
  std::size_t right = 0;
  std::vector<float> sample(4);
  for (std::size_t i = 0; i < bench.data.verification.count(); ++i) {
    bench.data.verification.CopySample(i, sample);
    const auto label = static_cast<std::size_t>(bench.data.verification.label(i));
    right += Get(model.Predict(sample)).index == label ? 1U : 0U;
  }
  CHECK(static_cast<double>(right) / static_cast<double>(bench.data.verification.count()) ==
        doctest::Approx(result.local_accuracy));
}

TEST_CASE("RunDeployment: few samples are joined by made ones, unless the plan says never") {
  const Bench bench;
  const LocalData few = MakeData(*bench.plan, 20);
  CHECK(bench.Deploy(bench.teacher, {}, few).report.front().starts_with("made samples: 800"));
  const Bench never("dense 3", "", "made_below = 0\n");
  CHECK(never.Deploy(never.teacher, {}, few).report.front().starts_with("ptq_static: "));
}

TEST_CASE("RunDeployment: a model worse than the installed one is refused") {
  const Bench bench;
  const DeploymentResult good = bench.Deploy(bench.teacher);
  // Without the comparison it would pass the gate.
  CHECK(bench.Deploy(bench.ForgetfulTeacher()).installed);
  const DeploymentResult worse = bench.Deploy(bench.ForgetfulTeacher(), good.model_file);
  CHECK_FALSE(worse.installed);
  CHECK(worse.model_file.empty());
  CHECK(worse.reason.find("the installed model is better") != std::string::npos);
}

TEST_CASE("RunDeployment: a model as good as the installed one takes its place") {
  const Bench bench;
  const DeploymentResult good = bench.Deploy(bench.teacher);
  const DeploymentResult again = bench.Deploy(bench.teacher, good.model_file);
  CHECK(again.installed);
  CHECK(again.model_file == good.model_file);
}

TEST_CASE("RunDeployment: a damaged installed model does not stand in the way") {
  const Bench bench;
  CHECK(bench.Deploy(bench.teacher, ToBytes("garbage")).installed);
}

TEST_CASE("RunDeployment: a ruined teacher leaves nothing installed") {
  const Bench bench;
  NamedTensors ruined = bench.teacher;
  for (float& value : ruined.values) value = 0;
  const DeploymentResult result = bench.Deploy(ruined);
  CHECK_FALSE(result.installed);
  CHECK_FALSE(result.reason.empty());
  CHECK_FALSE(result.update.empty());
}

TEST_CASE("LocalModel: a sample of another size is refused") {
  const Bench bench;
  LocalModel model = Get(LocalModel::Load(bench.Deploy(bench.teacher).model_file));
  CHECK(CodeOf(model.Predict(std::vector<float>(3))) == ErrorCode::kShapeMismatch);
  CHECK_FALSE(LocalModel::Load(ToBytes("garbage")));
}

}  // namespace
}  // namespace fl::client
