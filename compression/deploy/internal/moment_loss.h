#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/training_hook.h"
#include "fl/compression/deploy/data_statistics.h"

namespace fl::deploy::internal {

// Adds to a step how far the batch's moments of inner values are from the known ones (see
// DataFreeMethod::kStatistics). Thread safety: distinct objects safe.
class MomentLoss : public nn::TrainingHook {
 public:
  // kNotFound, kShapeMismatch.
  static Result<MomentLoss> Create(const nn::Graph& graph, const DataStatistics& statistics,
                                   double weight);

  void OnForward(std::size_t /*node*/, std::span<float> /*output*/) override {}
  double OnBackward(std::size_t node, std::span<const float> output,
                    std::span<float> gradient) override;

 private:
  std::map<std::size_t, NodeMoments> nodes_;
  double weight_ = 0;
};

// Mean and variance of each channel of rows of `channels` values.
struct ChannelMoments {
  std::vector<double> mean;
  std::vector<double> variance;
};
ChannelMoments MomentsOf(std::span<const float> values, std::size_t channels);

}  // namespace fl::deploy::internal
