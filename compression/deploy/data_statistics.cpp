#include "fl/compression/deploy/data_statistics.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fl/common/nn/evaluate.h"
#include "fl/common/nn/gradient.h"
#include "fl/common/nn/training_hook.h"
#include "fl/common/tensor/tensor.h"
#include "fl/compression/deploy/internal/moment_loss.h"

namespace fl::deploy {
namespace {

constexpr std::size_t kBatch = 50;

// Sums up the moments of all nodes that it is shown.
class MomentMeter final : public nn::TrainingHook {
 public:
  explicit MomentMeter(const nn::Graph& graph) : graph_(graph), nodes_(graph.nodes.size()) {}

  void OnForward(std::size_t node, std::span<float> output) override {
    // The answers are asked for by their label, and need not be as they were.
    if (node + 1 == graph_.nodes.size()) return;
    const Shape& shape = graph_.nodes[node].shape;
    const std::size_t channels = shape[shape.rank() - 1];
    const internal::ChannelMoments moments = internal::MomentsOf(output, channels);
    Sums& sums = nodes_[node];
    sums.mean.resize(channels);
    sums.square.resize(channels);
    const double weight = static_cast<double>(output.size()) / static_cast<double>(channels);
    sums.weight += weight;
    for (std::size_t c = 0; c < channels; ++c) {
      sums.mean[c] += weight * moments.mean[c];
      sums.square[c] += weight * (moments.variance[c] + moments.mean[c] * moments.mean[c]);
    }
  }
  double OnBackward(std::size_t /*node*/, std::span<const float> /*output*/,
                    std::span<float> /*gradient*/) override {
    return 0;
  }

  std::vector<NodeMoments> Take() const {
    std::vector<NodeMoments> all;
    for (std::size_t node = 1; node < nodes_.size(); ++node) {
      const Sums& sums = nodes_[node];
      if (sums.weight == 0) continue;
      NodeMoments moments{graph_.nodes[node].name, {}, {}};
      for (std::size_t c = 0; c < sums.mean.size(); ++c) {
        const double mean = sums.mean[c] / sums.weight;
        moments.mean.push_back(static_cast<float>(mean));
        moments.variance.push_back(
            static_cast<float>(std::max(0.0, sums.square[c] / sums.weight - mean * mean)));
      }
      all.push_back(std::move(moments));
    }
    return all;
  }

 private:
  struct Sums {
    std::vector<double> mean;
    std::vector<double> square;
    double weight = 0;
  };
  const nn::Graph& graph_;
  std::vector<Sums> nodes_;
};

// The mean product of features `stride` apart within blocks, less their mean and over their
// deviation.
float CorrelationOf(std::span<const float> samples, const DataStatistics& scale, std::size_t stride,
                    std::size_t block) {
  const std::size_t features = scale.input_mean.size();
  const auto standard = [&](std::size_t i) {
    const std::size_t feature = i % features;
    const auto deviation = static_cast<double>(scale.input_deviation[feature]);
    return deviation > 0 ? static_cast<double>(samples[i] - scale.input_mean[feature]) / deviation
                         : 0.0;
  };
  double sum = 0;
  double squares = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (i % block < stride) continue;
    const double before = standard(i - stride);
    const double here = standard(i);
    sum += before * here;
    squares += (before * before + here * here) / 2;
  }
  return squares > 0 ? static_cast<float>(sum / squares) : 0.0F;
}

}  // namespace

DataStatistics StatisticsOfNorms(const nn::Graph& graph, std::span<const float> parameters) {
  DataStatistics statistics;
  for (const nn::Node& node : graph.nodes) {
    if (node.kind != nn::OpKind::kBatchNorm || node.inputs[0] == 0) continue;
    const auto tensor = [&](std::size_t index) {
      const auto values =
          parameters.subspan(graph.parameters.offset(node.parameters[index]),
                             graph.parameters[node.parameters[index]].shape.count());
      return std::vector<float>(values.begin(), values.end());
    };
    statistics.nodes.push_back({graph.nodes[node.inputs[0]].name, tensor(2), tensor(3)});
  }
  return statistics;
}

Result<DataStatistics> MeasureStatistics(const nn::Graph& graph, std::span<const float> parameters,
                                         std::span<const float> samples, std::size_t count) {
  const std::size_t features = graph.input_shape().count();
  if (count == 0 || samples.size() != count * features ||
      parameters.size() != graph.parameters.total()) {
    return Error{ErrorCode::kInvalidArgument,
                 "expected samples of " + std::to_string(features) + " values, found " +
                     std::to_string(samples.size()) + " in " + std::to_string(count)};
  }
  if (!AllFinite(samples)) return Error{ErrorCode::kNotFinite, "expected finite samples"};
  FL_TRY(nn::TrainingStep step, nn::TrainingStep::Create(graph, kBatch));
  MomentMeter meter(graph);
  std::vector<float> unused(parameters.size());
  std::vector<double> shares(graph.output_shape().count());
  for (std::size_t first = 0; first < count; first += kBatch) {
    nn::TrainingBatch batch;
    batch.count = std::min(kBatch, count - first);
    batch.input = samples.subspan(first * features, batch.count * features);
    batch.hook = &meter;
    batch.running_statistics = true;
    step.Compute(parameters, batch, unused);
    for (std::size_t i = 0; i < batch.count; ++i)
      shares[nn::ArgMax(step.outputs().subspan(i * shares.size(), shares.size()))] +=
          1 / static_cast<double>(count);
  }
  DataStatistics statistics;
  statistics.class_shares = std::move(shares);
  statistics.nodes = meter.Take();
  const internal::ChannelMoments inputs = internal::MomentsOf(samples, features);
  for (std::size_t i = 0; i < features; ++i) {
    statistics.input_mean.push_back(static_cast<float>(inputs.mean[i]));
    statistics.input_deviation.push_back(static_cast<float>(std::sqrt(inputs.variance[i])));
  }
  if (const Shape& shape = graph.input_shape(); shape.rank() == 3) {
    const std::size_t row = shape[1] * shape[2];
    statistics.neighbour_correlation = {CorrelationOf(samples, statistics, row, features),
                                        CorrelationOf(samples, statistics, shape[2], row)};
  }
  return statistics;
}

Result<DataStatistics> StatisticsFor(const Teacher& teacher, std::span<const float> samples,
                                     std::size_t count) {
  DataStatistics statistics = StatisticsOfNorms(teacher.graph, teacher.parameters);
  if (count == 0) return statistics;
  FL_TRY(DataStatistics measured,
         MeasureStatistics(teacher.graph, teacher.parameters, samples, count));
  if (!statistics.nodes.empty()) measured.nodes = std::move(statistics.nodes);
  return measured;
}

}  // namespace fl::deploy
