#include "fl/client/train/report_streams.h"

#include <algorithm>
#include <utility>

#include "fl/client/state/error_feedback.h"
#include "fl/compression/recipe.h"

namespace fl::client {
namespace {

wire::UpdateStream EncodeStream(std::uint64_t id, const NamedTensors& tensors,
                                const SegmentPlan& segments, const RngStream& rng) {
  const ErrorFeedback none(nullptr, false);
  return {id, none.Encode(tensors, segments, RoundParameters{}, rng).entries};
}

// How many training samples each class has.
void MeasureLabelCounts(const LocalData& data, std::span<float> out) {
  const std::vector<std::uint64_t> counts = data.training.LabelCounts();
  for (std::size_t i = 0; i < std::min(counts.size(), out.size()); ++i) {
    out[i] = static_cast<float>(counts[i]);
  }
}

}  // namespace

wire::UpdateStream EncodeMetrics(const std::array<float, 4>& values) {
  ByteWriter payload;
  for (const float value : values) payload.Write(value);
  return {wire::kStreamMetrics, {{0, std::move(payload).Take()}}};
}

void AppendPlanStreams(const CheckedPlan& checked, const LocalData& data, const RngStream& rng,
                       wire::Update& update) {
  for (std::size_t i = 0; i < checked.streams.size(); ++i) {
    NamedTensors tensors(checked.streams[i].layout());
    FL_CHECK(checked.plan.streams[i].source == "label_counts", "a stream's source is checked");
    MeasureLabelCounts(data, tensors.values);
    update.streams.push_back(EncodeStream(wire::kStreamPlanFirst + i, tensors, checked.streams[i],
                                          rng.Child("stream", i)));
  }
}

}  // namespace fl::client
