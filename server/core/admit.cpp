#include "fl/server/core/admit.h"

#include <algorithm>
#include <cmath>

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
      return Error{ErrorCode::kShapeMismatch, "stream " + plan.name +
                                                  ": expected a segment below " +
                                                  std::to_string(segments.size()) + ", found " +
                                                  std::to_string(entry.segment)};
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
                 "stream metrics: expected 4 values, found " + std::to_string(filled)};
  }
  return metrics;
}

Result<> CheckNorm(double squares, double bound) {
  const double norm_l2 = std::sqrt(squares);
  if (bound > 0 && !(norm_l2 <= bound)) {
    return Error{ErrorCode::kNormExceeded, "delta: expected an L2 norm of at most " +
                                               std::to_string(bound) + ", found " +
                                               std::to_string(norm_l2)};
  }
  return Ok{};
}

Result<> CheckStreams(const FederationPlan& plan, const wire::UpdateView& view,
                      const RoundParameters& parameters, CheckedUpdate& checked) {
  const double bound = plan.plan().privacy.norm_bound;
  double squares = 0;
  for (const wire::UpdateStreamView& stream : view.streams) {
    if (stream.id == wire::kStreamCalibration && plan.checked().calibration) {
      // Decoded again when it is added: checked updates may wait, many at a time.
      const auto histograms = ReadCalibration(plan, stream, view.examples);
      if (!histograms) return histograms.error();
      continue;
    }
    if (stream.id >= plan.streams().size()) {
      return Error{ErrorCode::kStreamMismatch, "expected a stream below " +
                                                   std::to_string(plan.streams().size()) +
                                                   ", found " + std::to_string(stream.id)};
    }
    const StreamPlan& stream_plan = plan.streams()[stream.id];
    const bool delta = stream.id == wire::kStreamDelta;
    FL_TRY_OK(CheckStream(stream_plan, stream, plan.ParametersOf(stream_plan, parameters),
                          delta && bound > 0 ? &squares : nullptr));
    if (stream.id == wire::kStreamMetrics) {
      FL_TRY(checked.metrics, ReadMetrics(stream_plan, stream));
    }
    checked.has_delta |= delta && !stream.entries.empty();
  }
  return CheckNorm(squares, bound);
}

}  // namespace

Result<CheckedUpdate> CheckUpdate(const FederationPlan& plan, ByteSpan update,
                                  const RoundParameters& parameters) {
  wire::UpdateLimits limits;
  limits.bytes_max = std::max(plan.update_bytes_max(wire::TaskKind::kTrain),
                              plan.update_bytes_max(wire::TaskKind::kCalibrate));
  limits.streams_max = plan.streams().size();
  FL_TRY(const wire::UpdateView view, wire::DecodeUpdate(update, limits));
  CheckedUpdate checked;
  checked.digest = crypto::Sha256(update);
  checked.bytes = update.size();
  checked.task = view.task;
  checked.base = view.base;
  checked.recipe = view.recipe;
  checked.examples = view.examples;
  checked.has_all_streams = view.streams.size() == plan.streams().size() &&
                            view.streams.back().id != wire::kStreamCalibration;
  checked.only_metrics =
      view.streams.size() == 1 && view.streams.front().id == wire::kStreamMetrics;
  checked.only_calibration =
      view.streams.size() == 1 && view.streams.front().id == wire::kStreamCalibration;
  // A payload made by another recipe could parse by chance, so that this comes first.
  if (view.recipe != plan.recipe()) {
    return Error{ErrorCode::kWrongRecipe, "expected the plan's recipe, found another"};
  }
  FL_TRY_OK(CheckStreams(plan, view, parameters, checked));
  return checked;
}

std::shared_ptr<const Result<CheckedUpdate>> CheckRequest(Storage& storage,
                                                          const FederationPlan& plan,
                                                          const DecodedRequest& request,
                                                          const net::Request& message) {
  using Checked = const Result<CheckedUpdate>;
  const auto* commit = std::get_if<UploadCommit>(&request);
  const bool whole = std::holds_alternative<UploadWhole>(request);
  if (!whole && commit == nullptr) return nullptr;
  Result<Bytes> chunks = Bytes{};
  Result<RoundParameters> parameters = plan.initial_parameters();
  // A whole update whose recipe shares nothing is checked without the storage.
  if (commit != nullptr || plan.checked().delta.needs_round_parameters()) {
    const auto transaction = storage.Begin(plan.name(), TransactionMode::kOptimistic);
    if (!transaction) return nullptr;
    if (commit != nullptr) chunks = (*transaction)->ReadChunks(commit->task.value);
    const auto task = (*transaction)->FindTask(TaskOf(request)->value);
    if (!task || !*task || (*task)->federation != plan.name()) return nullptr;
    parameters = ReadTaskParameters(**transaction, plan, **task);
  }
  if (!parameters || !chunks) return nullptr;
  if (commit != nullptr && chunks->size() != commit->message.bytes) return nullptr;
  return std::make_shared<Checked>(CheckUpdate(plan, whole ? message.body : *chunks, *parameters));
}

Result<> Admit(const CheckedUpdate& update, const TaskRow& task, const ModelRow& base,
               const FederationPlan& plan) {
  if (update.task.value != task.id) {
    return Error{ErrorCode::kUnknownTask, "expected an update of the task that it is sent for"};
  }
  const std::uint64_t bytes_max = plan.update_bytes_max(task.kind);
  if (update.bytes > bytes_max) {
    return Error{ErrorCode::kLimitExceeded, "update: expected at most " +
                                                std::to_string(bytes_max) + " bytes, found " +
                                                std::to_string(update.bytes)};
  }
  const bool train = task.kind == wire::TaskKind::kTrain;
  const Digest& given = train ? base.digest : base.released;
  if (update.base != given.prefix()) {
    return Error{ErrorCode::kWrongBase, "expected an update of version " +
                                            std::to_string(task.base_version) +
                                            ", found one of another model"};
  }
  if (update.recipe != plan.recipe()) {
    return Error{ErrorCode::kWrongRecipe, "expected the plan's recipe, found another"};
  }
  if (task.kind == wire::TaskKind::kCalibrate) {
    if (update.only_calibration) return Ok{};
    return Error{ErrorCode::kStreamMismatch, "expected the calibration alone"};
  }
  if (!train) {
    if (update.only_metrics) return Ok{};
    return Error{ErrorCode::kStreamMismatch, "expected the metrics alone"};
  }
  if (!update.has_all_streams || !update.has_delta) {
    return Error{ErrorCode::kStreamMismatch, "expected each of the plan's streams, and a delta"};
  }
  if (update.examples == 0) {
    return Error{ErrorCode::kBadWeight, "examples: expected at least 1, found 0"};
  }
  return Ok{};
}

}  // namespace fl::server
