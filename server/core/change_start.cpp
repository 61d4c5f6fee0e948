#include "fl/server/core/change_start.h"

namespace fl::server {

bool PublishesHalf(const FederationPlan& plan) {
  return plan.plan().aggregation.publish == "half";
}

std::vector<float> ChangeStart(const FederationPlan& plan) {
  return PublishesHalf(plan) ? std::vector<float>(plan.layout().total()) : plan.InitialModel();
}

}  // namespace fl::server
