#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "fl/common/net/message.h"
#include "fl/common/wire/update.h"
#include "fl/server/core/federation_plan.h"
#include "fl/server/core/request.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

// The metrics stream of a train or evaluate task {loss_before, accuracy_before, loss_after,
// holdout_examples} or of a deploy task {bytes, teacher_accuracy, local_accuracy, installed}.
inline constexpr std::size_t kMetricsCount = 4;
using Metrics = std::array<float, kMetricsCount>;

// What an update claims, once everything that can be said without its task was checked.
struct CheckedUpdate {
  Digest digest;  // SHA-256 of the bytes that were checked.
  std::uint64_t bytes = 0;
  TaskId task;
  std::uint64_t base = 0;
  std::uint64_t recipe = 0;
  std::uint64_t examples = 0;
  bool has_delta = false;
  bool has_all_streams = false;
  bool only_metrics = false;      // As evaluate and deploy tasks want it.
  bool only_calibration = false;  // As calibrate tasks want it.
  Metrics metrics{};
};

// Checks an update's envelope and each of its payloads against the plan: kMalformed,
// kDigestMismatch, kWrongVersion, kLimitExceeded, kStreamMismatch (a stream that the plan does not
// have), kShapeMismatch (a segment that it does not have), kWrongRecipe, kNotFinite, kNormExceeded,
// kBadWeight, ReadCalibration's. `parameters` are those of the update's task. Pure: runs in
// parallel, before the core.
Result<CheckedUpdate> CheckUpdate(const FederationPlan& plan, ByteSpan update,
                                  const RoundParameters& parameters);

// CheckUpdate for the update that a request completes: the body of a PUT; the stored chunks of a
// commit. Null for other requests and where the storage cannot say. Thread safety: any number of
// calls at a time.
std::shared_ptr<const Result<CheckedUpdate>> CheckRequest(Storage& storage,
                                                          const FederationPlan& plan,
                                                          const DecodedRequest& request,
                                                          const net::Request& message);

// The last checks, against the task that the update answers and the model that the task gave:
// kUnknownTask, kLimitExceeded, kWrongBase, kWrongRecipe, kStreamMismatch, kBadWeight.
Result<> Admit(const CheckedUpdate& update, const TaskRow& task, const ModelRow& base,
               const FederationPlan& plan);

}  // namespace fl::server
