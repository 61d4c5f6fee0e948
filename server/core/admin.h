#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "fl/common/base/clock.h"
#include "fl/common/net/message.h"
#include "fl/server/core/federation_plan.h"
#include "fl/server/core/request.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

// The last time that a batch could not be stored since this server was started.
struct StorageFailure {
  TimePoint at;
  std::string message;
};

// What an admin page says besides what the storage's rows do.
struct AdminView {
  TimePoint now;
  std::optional<StorageFailure> storage_failure;
};

// A page of the admin API as the rows stand: JSON, or the model as a safetensors file. Errors are
// the storage's.
Result<net::Response> RenderAdminPage(Transaction& transaction, const FederationPlan& plan,
                                      AdminPage page, const AdminView& view);
// The same, where the request names this federation or none; else a refusal.
Result<net::Response> AnswerAdminRead(Transaction& transaction, const FederationPlan& plan,
                                      const AdminRead& request, const AdminView& view);

// "running", "paused", "deploying", "done", "stopped".
std::string_view FederationStateName(FederationState state);
std::string_view RoundStateName(RoundState state);

}  // namespace fl::server
