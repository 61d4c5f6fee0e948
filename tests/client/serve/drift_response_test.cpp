#include "fl/client/serve/drift_response.h"

#include <doctest/doctest.h>

#include "fl/client/deploy/local_model.h"
#include "fl/common/crypto/sha256.h"
#include "fl/common/nn/initialize.h"
#include "fl/tests/client/fake_federation.h"
#include "fl/tests/support/result.h"

namespace fl::client {
namespace {

using fl::testing::Get;

// A device that holds a plan and a model, and has installed one.
struct Bench {
  explicit Bench(const std::string& keys = "drift_max = 0.25\n") {
    const std::string text = testing::PlanText(
        "raw", "\n[deployment]\nversion = 1\n" + keys +
                   "\n[[deployment.pass]]\npass = \"ptq_static\"\n\n[[deployment.pass]]\npass = "
                   "\"verify\"\n");
    plan = testing::MakePlan(text);
    const auto model =
        std::make_shared<NamedTensors>(nn::InitializeParameters(plan->graph, RngStream(1)));
    device.client = "device";
    device.plan = crypto::Sha256(AsBytes(text));
    device.model = HeldModel{3, ModelDigest(model->values)};
    cache.StorePlan(*device.plan, text, plan);
    cache.StoreModel(device.model->digest, model);
  }

  std::optional<DeploymentJob> Next(double score, TimePoint now = FromMicroseconds(0)) {
    const KnownDrift drift{crypto::Sha256(installed).ToHex(), score, {}};
    return response.Next(drift, installed, device, cache, now);
  }

  std::shared_ptr<const CheckedPlan> plan;
  MemoryContentCache cache;
  DeviceState device;
  Bytes installed = ToBytes("a model file");
  DriftResponse response;
};

TEST_CASE("DriftResponse: a drift above the plan's bound is answered from the held model") {
  Bench bench;
  CHECK_FALSE(bench.Next(0.25));
  const auto job = bench.Next(0.26);
  REQUIRE(job);
  CHECK(job->task.kind == wire::TaskKind::kDeploy);
  CHECK(job->task.model.version == 3);
  CHECK(job->plan == bench.plan);
  CHECK(job->installed == bench.installed);
  const std::atomic<bool> stop = false;
  const DeploymentResult result =
      Get(RunDeployment(*job, testing::MakeData(*bench.plan, 200), stop));
  CHECK(result.report.size() == 2);
}

TEST_CASE("DriftResponse: a drift is answered once an hour") {
  Bench bench;
  REQUIRE(bench.Next(1));
  const auto at = [](int minutes) { return FromMicroseconds(0) + std::chrono::minutes(minutes); };
  CHECK_FALSE(bench.Next(1, at(0)));
  CHECK_FALSE(bench.Next(1, at(59)));
  CHECK(bench.Next(1, at(60)));
}

TEST_CASE("DriftResponse: nothing to answer without a bound, a plan, a model, or for another one") {
  CHECK_FALSE(Bench("").Next(9));
  CHECK_FALSE(Bench("drift_max = 0\n").Next(9));
  Bench other;
  other.installed = ToBytes("another model file");
  const KnownDrift drift{crypto::Sha256(ToBytes("a model file")).ToHex(), 9, {}};
  CHECK_FALSE(other.response.Next(drift, other.installed, other.device, other.cache, {}));
  Bench without_model;
  without_model.device.model.reset();
  CHECK_FALSE(without_model.Next(9));
  Bench without_plan;
  without_plan.device.plan.reset();
  CHECK_FALSE(without_plan.Next(9));
  Bench forgotten;
  forgotten.device.model->digest = Digest();
  CHECK_FALSE(forgotten.Next(9));
}

}  // namespace
}  // namespace fl::client
