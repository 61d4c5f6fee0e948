#include "fl/common/nn/calibrate.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "fl/common/nn/visit_outputs.h"

namespace fl::nn {
namespace {

ActivationRange ExtremesOf(std::span<const float> values) {
  const auto [low, high] = std::ranges::minmax(values);
  return {std::min(low, 0.0F), std::max(high, 0.0F)};
}

ActivationRange Mixed(const ActivationRange& a, const ActivationRange& b, double share_of_b) {
  const auto mix = [&](float x, float y) {
    return static_cast<float>((1 - share_of_b) * static_cast<double>(x) +
                              share_of_b * static_cast<double>(y));
  };
  return {mix(a.low, b.low), mix(a.high, b.high)};
}

Result<> CheckValues(std::span<const float> parameters, std::span<const float> samples) {
  if (!AllFinite(parameters))
    return Error{ErrorCode::kNotFinite, "calibration: a parameter is not finite"};
  if (!AllFinite(samples))
    return Error{ErrorCode::kNotFinite, "calibration: a sample holds a value that is not finite"};
  if (std::ranges::adjacent_find(samples, std::ranges::not_equal_to{}) == samples.end()) {
    return Error{ErrorCode::kInvalidArgument, "calibration: expected samples that vary, found " +
                                                  std::to_string(samples[0]) + " as every value"};
  }
  return {};
}

}  // namespace

Result<> Calibration::Merge(const Calibration& other) {
  if (other.histograms.size() != histograms.size() || other.moving.size() != moving.size()) {
    return Error{ErrorCode::kInvalidArgument,
                 "calibration: expected histograms of " + std::to_string(histograms.size()) +
                     " nodes, found " + std::to_string(other.histograms.size())};
  }
  const std::uint64_t all = samples + other.samples;
  const double share = all == 0 ? 0 : static_cast<double>(other.samples) / static_cast<double>(all);
  for (std::size_t i = 0; i < histograms.size(); ++i) {
    histograms[i].Merge(other.histograms[i]);
    moving[i] = Mixed(moving[i], other.moving[i], share);
  }
  samples = all;
  return {};
}

Result<std::vector<ActivationRange>> Calibration::Ranges(const RangeOptions& options) const {
  FL_TRY_OK(options.Validate());
  std::vector<ActivationRange> ranges;
  for (std::size_t i = 0; i < histograms.size(); ++i) {
    if (options.method == RangeMethod::kMovingAverage) {
      ranges.push_back(options.symmetric ? SymmetricRange(moving[i]) : moving[i]);
    } else {
      ranges.push_back(ChooseRange(histograms[i], options));
    }
  }
  return ranges;
}

std::vector<double> Calibration::ToNumbers() const {
  std::vector<double> numbers;
  for (const Histogram& histogram : histograms) {
    const std::vector<double> part = histogram.ToNumbers();
    numbers.insert(numbers.end(), part.begin(), part.end());
  }
  return numbers;
}

Result<Calibration> Calibrate(const Graph& graph, std::span<const float> parameters,
                              std::span<const float> samples, std::size_t count,
                              double moving_share) {
  FL_TRY_OK(CheckSamples(graph, parameters, {samples, count}, "calibration"));
  FL_TRY_OK(CheckValues(parameters, samples));
  Calibration calibration;
  calibration.histograms.resize(graph.nodes.size());
  calibration.moving.resize(graph.nodes.size());
  std::vector<bool> seen(graph.nodes.size(), false);
  Result<> added;
  FL_TRY_OK(VisitOutputs(graph, parameters, {samples, count},
                         [&](std::size_t node, std::span<const float> values) {
                           if (!added) return;
                           added = calibration.histograms[node].Add(values);
                           if (!added) return;
                           const ActivationRange extremes = ExtremesOf(values);
                           ActivationRange& moving = calibration.moving[node];
                           moving = seen[node] ? Mixed(moving, extremes, moving_share) : extremes;
                           seen[node] = true;
                         }));
  if (!added) {
    return Error{ErrorCode::kNotFinite, "calibration: an output of the model is not finite"};
  }
  calibration.samples = count;
  return calibration;
}

Result<std::vector<ActivationRange>> ObserveRanges(const Graph& graph,
                                                   std::span<const float> parameters,
                                                   std::span<const float> samples,
                                                   std::size_t count, RangeMethod method) {
  FL_TRY(const Calibration calibration, Calibrate(graph, parameters, samples, count));
  return calibration.Ranges({.method = method});
}

}  // namespace fl::nn
