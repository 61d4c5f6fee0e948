#pragma once

#include "fl/common/net/message.h"
#include "fl/server/core/federation_plan.h"
#include "fl/server/core/request.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

// A page of the admin API as the rows stand at `now`: JSON, or the model as a safetensors file.
// Errors are the storage's.
Result<net::Response> RenderAdminPage(Transaction& transaction, const FederationPlan& plan,
                                      AdminPage page, TimePoint now);

// "running", "paused", "deploying", "done", "stopped".
std::string_view FederationStateName(FederationState state);
std::string_view RoundStateName(RoundState state);

}  // namespace fl::server
