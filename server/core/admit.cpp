#include "fl/server/core/admit.h"

#include <algorithm>
#include <cmath>

#include "fl/common/base/error_detail.h"
#include "fl/common/crypto/sha256.h"
#include "fl/server/core/calibration.h"
#include "fl/server/core/round_parameters.h"

namespace fl::server {
namespace {

std::string Place(const StreamPlan& stream, const Segment& segment) {
  return "stream " + stream.name + " segment " + segment.name;
}

// Parses each payload of a stream; adds the squares of its values to `squares`, where one is given.
Result<> CheckStream(const StreamPlan& plan, const wire::UpdateStreamView& stream,
                     const RoundParameters& parameters, double* squares) {
  const auto segments = plan.segments->segments();
  std::vector<float> values;
  for (const wire::UpdateEntryView& entry : stream.entries) {
    if (entry.segment >= segments.size()) {
      return Error{ErrorCode::kShapeMismatch,
                   "stream " + plan.name + ": expected a segment below " +
                       std::to_string(segments.size()) + ", found " + std::to_string(entry.segment),
                   ErrorDetail::kSegmentUnknown};
    }
    const Segment& segment = segments[entry.segment];
    const auto parsed = segment.codec->Parse(entry.payload, parameters, PayloadLimits{});
    if (!parsed) return parsed.error().At(Place(plan, segment));
    if (squares == nullptr) continue;
    values.assign(segment.codec->count(), 0.0F);
    segment.codec->DecodeAdd(**parsed, 0, 1.0F, values);
    for (const float value : values) *squares += double{value} * double{value};
  }
  return Ok{};
}

Result<Metrics> ReadMetrics(const StreamPlan& plan, const wire::UpdateStreamView& stream) {
  Metrics metrics{};
  const auto segments = plan.segments->segments();
  std::size_t filled = 0;
  for (const wire::UpdateEntryView& entry : stream.entries) {
    const Codec& codec = *segments[entry.segment].codec;
    FL_TRY(const auto parsed, codec.Parse(entry.payload, {}, PayloadLimits{}));
    filled += codec.count();
    codec.DecodeAdd(*parsed, 0, 1.0F, metrics);
  }
  if (filled != kMetricsCount) {
    return Error{ErrorCode::kShapeMismatch,
                 "stream metrics: expected 4 values, found " + std::to_string(filled),
                 ErrorDetail::kMetricsIncomplete};
  }
  return metrics;
}

Result<> CheckNorm(double squares, double bound) {
  const double norm_l2 = std::sqrt(squares);
  if (bound > 0 && !(norm_l2 <= bound)) {
    return Error{ErrorCode::kNormExceeded,
                 "delta: expected an L2 norm of at most " + std::to_string(bound) + ", found " +
                     std::to_string(norm_l2),
                 ErrorDetail::kNormL2};
  }
  return Ok{};
}

Result<> CheckStreams(const FederationPlan& plan, const wire::UpdateView& view,
                      const RoundParameters& parameters, CheckedUpdate& checked) {
  const double bound = plan.plan().privacy.norm_bound;
  double squares = 0;
  for (const wire::UpdateStreamView& stream : view.streams) {
    if (stream.id == wire::kStreamCalibration) {
      // Decoded again when it is added: checked updates may wait, many at a time.
      const auto histograms = ReadCalibration(plan, stream, view.examples);
      if (!histograms) return histograms.error();
      continue;
    }
    const StreamPlan& stream_plan = plan.streams()[stream.id];
    const bool delta = stream.id == wire::kStreamDelta;
    FL_TRY_OK(CheckStream(stream_plan, stream, plan.ParametersOf(stream_plan, parameters),
                          delta && bound > 0 ? &squares : nullptr));
    if (stream.id == wire::kStreamMetrics) {
      FL_TRY(checked.metrics, ReadMetrics(stream_plan, stream));
    }
  }
  return CheckNorm(squares, bound);
}

}  // namespace

Result<> Admit(const CheckedUpdate& update, const TaskRow& task, const ModelRow& base,
               const FederationPlan& plan) {
  if (update.task.value != task.id) {
    return Error{ErrorCode::kUnknownTask, "expected an update of the task that it is sent for",
                 ErrorDetail::kTaskOther};
  }
  const std::uint64_t bytes_max = plan.update_bytes_max(task.kind);
  if (update.bytes > bytes_max) {
    return Error{ErrorCode::kLimitExceeded,
                 "update: expected at most " + std::to_string(bytes_max) + " bytes, found " +
                     std::to_string(update.bytes),
                 ErrorDetail::kUpdateBytes};
  }
  const bool train = task.kind == wire::TaskKind::kTrain;
  const Digest& given = train ? base.digest : base.released;
  if (update.base != given.prefix()) {
    return Error{ErrorCode::kWrongBase,
                 "expected an update of version " + std::to_string(task.base_version) +
                     ", found one of another model",
                 ErrorDetail::kBaseOther};
  }
  if (update.recipe != plan.recipe()) {
    return Error{ErrorCode::kWrongRecipe, "expected the plan's recipe, found another",
                 ErrorDetail::kRecipeOther};
  }
  if (task.kind == wire::TaskKind::kCalibrate) {
    if (update.only_calibration) return Ok{};
    return Error{ErrorCode::kStreamMismatch, "expected the calibration alone",
                 ErrorDetail::kCalibrationOnly};
  }
  if (!train) {
    if (update.only_metrics) return Ok{};
    return Error{ErrorCode::kStreamMismatch, "expected the metrics alone",
                 ErrorDetail::kMetricsOnly};
  }
  if (!update.has_all_streams) {
    return Error{ErrorCode::kStreamMismatch, "expected each of the plan's streams",
                 ErrorDetail::kStreamMissing};
  }
  if (!update.has_delta) {
    return Error{ErrorCode::kStreamMismatch, "delta: expected at least one segment, found none",
                 ErrorDetail::kDeltaMissing};
  }
  if (update.examples == 0) {
    return Error{ErrorCode::kBadWeight, "examples: expected at least 1, found 0",
                 ErrorDetail::kExamplesNone};
  }
  return Ok{};
}

namespace {

// What the header and the list of streams say, before any payload is looked into.
CheckedUpdate ClaimsOf(const FederationPlan& plan, const wire::UpdateView& view) {
  CheckedUpdate claims;
  claims.task = view.task;
  claims.base = view.base;
  claims.recipe = view.recipe;
  claims.examples = view.examples;
  if (view.streams.empty()) return claims;
  const std::uint64_t last = view.streams.back().id;
  const bool single = view.streams.size() == 1;
  // Ids increase, so that as many as the plan has, below its number, are all of them.
  claims.has_all_streams =
      view.streams.size() == plan.streams().size() && last < plan.streams().size();
  claims.has_delta =
      view.streams.front().id == wire::kStreamDelta && !view.streams.front().entries.empty();
  claims.only_metrics = single && last == wire::kStreamMetrics;
  claims.only_calibration = single && last == wire::kStreamCalibration;
  return claims;
}

// No stream has more segments than the plan's longest, so that a list of them costs little memory.
wire::UpdateLimits LimitsOf(const FederationPlan& plan, std::uint64_t bytes_max) {
  wire::UpdateLimits limits;
  limits.bytes_max = bytes_max;
  limits.streams_max = plan.streams().size();
  limits.entries_max =
      plan.checked().calibration ? plan.checked().calibration->graph.nodes.size() : std::size_t{1};
  for (const StreamPlan& stream : plan.streams()) {
    limits.entries_max = std::max(limits.entries_max, stream.segments->segments().size());
  }
  return limits;
}

Result<> CheckStreamIds(const FederationPlan& plan, const wire::UpdateView& view) {
  for (const wire::UpdateStreamView& stream : view.streams) {
    const bool known = stream.id < plan.streams().size() ||
                       (stream.id == wire::kStreamCalibration && plan.checked().calibration);
    if (known) continue;
    return Error{ErrorCode::kStreamMismatch,
                 "expected a stream below " + std::to_string(plan.streams().size()) + ", found " +
                     std::to_string(stream.id),
                 ErrorDetail::kStreamUnknown};
  }
  return Ok{};
}

}  // namespace

Result<CheckedUpdate> CheckUpdate(const FederationPlan& plan, const TaskAsGiven& given,
                                  ByteSpan update, const RoundParameters& parameters) {
  const std::uint64_t bytes_max = plan.update_bytes_max(given.task.kind);
  if (update.size() > bytes_max) {
    return Error{ErrorCode::kLimitExceeded,
                 "update: expected at most " + std::to_string(bytes_max) + " bytes, found " +
                     std::to_string(update.size()),
                 ErrorDetail::kUpdateBytes};
  }
  const Digest digest =
      given.digests != nullptr ? given.digests->Finish(given.task, update) : crypto::Sha256(update);
  if (given.reserved && digest != *given.reserved) {
    return Error{ErrorCode::kDigestMismatch, "update: expected bytes of the reserved digest",
                 ErrorDetail::kUpdateDigest};
  }
  FL_TRY(const wire::UpdateView view, wire::DecodeUpdate(update, LimitsOf(plan, bytes_max)));
  CheckedUpdate checked = ClaimsOf(plan, view);
  checked.digest = digest;
  checked.bytes = update.size();
  checked.attempt = given.task.attempt;
  FL_TRY_OK(CheckStreamIds(plan, view));
  FL_TRY_OK(Admit(checked, given.task, given.base, plan));
  FL_TRY_OK(CheckStreams(plan, view, parameters, checked));
  return checked;
}

std::shared_ptr<const Result<CheckedUpdate>> CheckRequest(Storage& storage,
                                                          const FederationPlan& plan,
                                                          const RequestOfPeer& request,
                                                          TimePoint now, UploadDigests* digests) {
  using Checked = const Result<CheckedUpdate>;
  const auto* commit = std::get_if<UploadCommit>(&request.decoded);
  if (!std::holds_alternative<UploadWhole>(request.decoded) && commit == nullptr) return nullptr;
  auto transaction = storage.Begin(plan.name(), TransactionMode::kOptimistic);
  if (!transaction) return nullptr;
  const auto offender = (*transaction)->FindOffender(plan.name(), ClientName(request.peer));
  const bool clean = offender && (!*offender || (*offender)->held_until <= now);
  if (!clean) return nullptr;
  const auto task = (*transaction)->FindTask(TaskOf(request.decoded)->value);
  if (!task || !*task) return nullptr;
  const bool wanted = (*task)->federation == plan.name() &&
                      (*task)->client == ClientName(request.peer) &&
                      (*task)->state == TaskState::kOpen;
  if (!wanted) return nullptr;
  const auto base = (*transaction)->FindModel(plan.name(), (*task)->base_version);
  if (!base || !*base) return nullptr;
  Result<RoundParameters> parameters = ReadTaskParameters(**transaction, plan, **task);
  if (!parameters) return nullptr;
  if (commit == nullptr) {
    transaction->reset();  // Of a storage in memory there is one at a time.
    return std::make_shared<Checked>(
        CheckUpdate(plan, {**task, **base, std::nullopt}, request.message.body, *parameters));
  }
  const bool whole =
      commit->message.digest == (*task)->digest && commit->message.bytes == (*task)->committed;
  if (!whole) return nullptr;
  const Result<StoredBody> stored = (*transaction)->ReadBody((*task)->id);
  if (!stored || stored->bytes().size() != commit->message.bytes) return nullptr;
  stored->Prefetch();
  return std::make_shared<Checked>(
      CheckUpdate(plan, {**task, **base, (*task)->digest, digests}, stored->bytes(), *parameters));
}

}  // namespace fl::server
