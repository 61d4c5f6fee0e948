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

wire::UpdateStream EncodeMetrics(const CheckedPlan& checked, const std::array<float, 4>& values) {
  NamedTensors tensors(checked.metrics.layout());
  FL_CHECK(tensors.values.size() == values.size(), "the metrics are four values");
  std::ranges::copy(values, tensors.values.begin());
  return EncodeStream(wire::kStreamMetrics, tensors, checked.metrics, RngStream(0));
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
