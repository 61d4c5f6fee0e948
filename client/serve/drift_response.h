#pragma once

#include <optional>

#include "fl/client/deploy/deployment_job.h"
#include "fl/client/serve/drift_file.h"
#include "fl/client/state/content_cache.h"
#include "fl/client/state/device_state.h"
#include "fl/common/base/clock.h"

namespace fl::client {

// Decides when a device runs its pass list anew of its own accord: when the drift of the installed
// model, as its service wrote it down, is above the plan's deployment.drift_max. The teacher is the
// global model that the device holds; the server is not asked and hears nothing, the protocol knows
// deployments only as tasks. At most once an hour, since without other data nothing else comes of
// it. Thread safety: distinct objects safe.
class DriftResponse {
 public:
  // The job to run now, if any; `installed`, the installed model file, is filled in.
  std::optional<DeploymentJob> Next(const KnownDrift& drift, ByteSpan installed,
                                    const DeviceState& device, ContentCache& cache, TimePoint now);

 private:
  TimePoint not_before_ = TimePoint::min();
};

}  // namespace fl::client
