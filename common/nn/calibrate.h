#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fl/common/nn/choose_range.h"
#include "fl/common/nn/graph.h"
#include "fl/common/nn/histogram.h"

namespace fl::nn {

// Fewer samples than this are a risk worth a word in a report; 512 are plenty.
inline constexpr std::size_t kCalibrationSamplesFew = 64;

// What a model's activations are like on some samples, as a value that merges: devices may each
// observe their own, and the merged value gives the ranges that all samples together would have
// given, bit for bit (but for the moving average, which depends on an order).
struct Calibration {
  std::vector<Histogram> histograms;  // One for each node: of its output.
  std::vector<ActivationRange>
      moving;  // One for each node: the moving average of batches' extremes.
  std::uint64_t samples = 0;

  // kInvalidArgument when the other is of another number of nodes. The moving averages are
  // averaged, weighted by samples.
  Result<> Merge(const Calibration& other);
  // One range for each node. kInvalidArgument when the options are not valid.
  Result<std::vector<ActivationRange>> Ranges(const RangeOptions& options) const;
  // Every histogram's numbers, node after node, for a federation that adds them up; see
  // Histogram::ToNumbers.
  std::vector<double> ToNumbers() const;
};

// Observes a float run over `count` samples. `moving_share` is the share c that a new batch of 32
// has in the moving average. kInvalidArgument when there are no samples, when their length does not
// fit or when all values of all samples are the same (nothing can be learned from them); kNotFinite
// when a value is NaN or infinite.
Result<Calibration> Calibrate(const Graph& graph, std::span<const float> parameters,
                              std::span<const float> samples, std::size_t count,
                              double moving_share = 0.01);

// Calibrate and Ranges in one.
Result<std::vector<ActivationRange>> ObserveRanges(const Graph& graph,
                                                   std::span<const float> parameters,
                                                   std::span<const float> samples,
                                                   std::size_t count, RangeMethod method);

}  // namespace fl::nn
