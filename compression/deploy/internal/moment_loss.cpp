#include "fl/compression/deploy/internal/moment_loss.h"

#include <utility>

#include "fl/compression/deploy/rewrite_graph.h"

namespace fl::deploy::internal {
namespace {

constexpr double kVarianceMin = 1e-4;  // Of a channel that hardly varies.

}  // namespace

ChannelMoments MomentsOf(std::span<const float> values, std::size_t channels) {
  ChannelMoments moments{std::vector<double>(channels), std::vector<double>(channels)};
  const double share = static_cast<double>(channels) / static_cast<double>(values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    moments.mean[i % channels] += share * static_cast<double>(values[i]);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double centred = static_cast<double>(values[i]) - moments.mean[i % channels];
    moments.variance[i % channels] += share * centred * centred;
  }
  return moments;
}

Result<MomentLoss> MomentLoss::Create(const nn::Graph& graph, const DataStatistics& statistics,
                                      double weight) {
  MomentLoss loss;
  loss.weight_ = weight;
  for (const NodeMoments& moments : statistics.nodes) {
    FL_TRY(const std::size_t node, FindNode(graph, moments.node));
    const Shape& shape = graph.nodes[node].shape;
    const std::size_t channels = shape[shape.rank() - 1];
    if (moments.mean.size() != channels || moments.variance.size() != channels) {
      return Error{ErrorCode::kShapeMismatch, moments.node + ": expected moments of " +
                                                  std::to_string(channels) + " channels, found " +
                                                  std::to_string(moments.mean.size())};
    }
    loss.nodes_[node] = moments;
  }
  return loss;
}

// d mean / d x = 1 / n, d variance / d x = 2 (x - mean) / n.
double MomentLoss::OnBackward(std::size_t node, std::span<const float> output,
                              std::span<float> gradient) {
  const auto found = nodes_.find(node);
  if (found == nodes_.end()) return 0;
  const NodeMoments& known = found->second;
  const std::size_t channels = known.mean.size();
  const ChannelMoments seen = MomentsOf(output, channels);
  const double weight = weight_ / static_cast<double>(channels);
  const double rows = static_cast<double>(output.size()) / static_cast<double>(channels);
  std::vector<double> of_mean(channels);
  std::vector<double> of_variance(channels);
  double loss = 0;
  for (std::size_t c = 0; c < channels; ++c) {
    const double variance = static_cast<double>(known.variance[c]) + kVarianceMin;
    const double shift = seen.mean[c] - static_cast<double>(known.mean[c]);
    const double excess = (seen.variance[c] + kVarianceMin) / variance - 1;
    loss += weight * (shift * shift / variance + excess * excess);
    of_mean[c] = weight * 2 * shift / variance / rows;
    of_variance[c] = weight * 2 * excess / variance * 2 / rows;
  }
  for (std::size_t i = 0; i < output.size(); ++i) {
    const std::size_t c = i % channels;
    gradient[i] += static_cast<float>(
        of_mean[c] + of_variance[c] * (static_cast<double>(output[i]) - seen.mean[c]));
  }
  return loss;
}

}  // namespace fl::deploy::internal
