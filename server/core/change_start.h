#pragma once

#include <vector>

#include "fl/server/core/federation_plan.h"

namespace fl::server {

// Whether each value of a published model, version 0 apart, is one of bf16.
bool PublishesHalf(const FederationPlan& plan);

// What a change from version 0 starts from: version 0, or zeros where models are of bf16 values, so
// that such a change is the whole model in two bytes a value or less.
std::vector<float> ChangeStart(const FederationPlan& plan);

}  // namespace fl::server
