#include "fl/client/serve/drift_response.h"

#include "fl/common/crypto/sha256.h"

namespace fl::client {
namespace {

constexpr Duration kPause = std::chrono::hours(1);

}  // namespace

std::optional<DeploymentJob> DriftResponse::Next(const KnownDrift& drift, ByteSpan installed,
                                                 const DeviceState& device, ContentCache& cache,
                                                 TimePoint now) {
  if (drift.score <= 0 || !device.plan || !device.model || now < not_before_) return std::nullopt;
  const auto plan = cache.FindPlan(*device.plan);
  if (plan == nullptr) return std::nullopt;
  const double drift_max = plan->plan.deployment.drift_max;
  if (drift_max <= 0 || drift.score <= drift_max) return std::nullopt;
  // What was served may have been replaced since.
  if (drift.model_sha256 != crypto::Sha256(installed).ToHex()) return std::nullopt;
  DeploymentJob job;
  job.model = cache.FindModel(device.model->digest, plan->graph.parameters);
  if (job.model == nullptr) return std::nullopt;
  job.task.kind = wire::TaskKind::kDeploy;
  job.task.model.version = device.model->version;
  job.task.model.digest = device.model->digest;
  job.client = device.client;
  job.plan = plan;
  job.installed.assign(installed.begin(), installed.end());
  not_before_ = now + kPause;
  return job;
}

}  // namespace fl::client
