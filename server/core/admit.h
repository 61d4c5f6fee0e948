#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "fl/common/net/message.h"
#include "fl/common/wire/update.h"
#include "fl/server/core/federation_plan.h"
#include "fl/server/core/request.h"
#include "fl/server/core/upload_digests.h"
#include "fl/server/storage/storage.h"

namespace fl::server {

// The metrics stream of a train or evaluate task {loss_before, accuracy_before, loss_after,
// holdout_examples} or of a deploy task {bytes, teacher_accuracy, local_accuracy, installed}.
inline constexpr std::size_t kMetricsCount = 4;
using Metrics = std::array<float, kMetricsCount>;

// What an update claims.
struct CheckedUpdate {
  Digest digest;  // SHA-256 of the bytes that were checked.
  std::uint64_t bytes = 0;
  std::uint64_t attempt = 0;  // Of the task, when its stored bytes were read.
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

// What an update is checked against: the task that it answers, the model that the task gave, and
// the digest that was reserved, where one was. `digests`: where the digest of the task's stored
// bytes may be under way; null: the update is none of these.
struct TaskAsGiven {
  const TaskRow& task;
  const ModelRow& base;
  std::optional<Digest> reserved;
  UploadDigests* digests = nullptr;
};

// The claims of an update against its task and the model that the task gave: kUnknownTask,
// kLimitExceeded, kWrongBase, kWrongRecipe, kStreamMismatch, kBadWeight. Cheap: no payload is
// looked into.
Result<> Admit(const CheckedUpdate& update, const TaskRow& task, const ModelRow& base,
               const FederationPlan& plan);

// Checks an update, what costs least first: its size (kLimitExceeded), its digest
// (kDigestMismatch), its envelope (wire::DecodeUpdate), its claims (Admit), each of its payloads
// against the plan (kStreamMismatch, kShapeMismatch, kMalformed, kLimitExceeded, kNotFinite; of a
// calibration what ReadCalibration says) and the delta's norm (kNormExceeded). Each has a detail of
// its own. Memory: that of one segment's values, and some bytes for each segment. `parameters` are
// those of the update's task. Pure: runs in parallel, before the core.
Result<CheckedUpdate> CheckUpdate(const FederationPlan& plan, const TaskAsGiven& given,
                                  ByteSpan update, const RoundParameters& parameters);

// A request as it came.
struct RequestOfPeer {
  const net::Peer& peer;
  const net::Request& message;
  const DecodedRequest& decoded;  // Of the message.
};

// CheckUpdate for the update that a request completes: the body of a PUT; the stored bytes of a
// commit. Null for other requests, for a task that is not an open one of this client or that a
// client sends who has to wait (the core refuses that without a look at the bytes) and where the
// storage cannot say. Thread safety: any number of calls at a time.
std::shared_ptr<const Result<CheckedUpdate>> CheckRequest(Storage& storage,
                                                          const FederationPlan& plan,
                                                          const RequestOfPeer& request,
                                                          TimePoint now,
                                                          UploadDigests* digests = nullptr);

}  // namespace fl::server
