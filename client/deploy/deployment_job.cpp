#include "fl/client/deploy/deployment_job.h"

#include <cstdio>

namespace fl::client {

std::string DescribeDeployment(const DeploymentResult& result) {
  char text[160];
  std::snprintf(text, sizeof(text), "%llu bytes, accuracy %.2f %% (global model %.2f %%)",
                static_cast<unsigned long long>(result.model_bytes), 100 * result.local_accuracy,
                100 * result.teacher_accuracy);
  return result.installed ? text : std::string(text) + "; " + result.reason;
}

}  // namespace fl::client
