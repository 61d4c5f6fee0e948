#include "fl/common/nn/calibrate.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "fl/common/nn/internal/forward_pass.h"

namespace fl::nn {
namespace {

using internal::ForwardPass;

constexpr std::size_t kBatch = 32;
constexpr std::size_t kBins = 2048;

struct Samples {
  std::span<const float> parameters;
  std::span<const float> values;
  std::size_t count;
};

// Runs all samples and shows each batch's output of each node.
void ForEachOutput(ForwardPass& pass, const Samples& samples,
                   const std::function<void(std::size_t, std::span<const float>)>& visit) {
  const Graph& graph = pass.graph();
  const std::size_t stride = graph.input_shape().count();
  for (std::size_t first = 0; first < samples.count; first += kBatch) {
    const std::size_t batch = std::min(kBatch, samples.count - first);
    pass.Run(samples.parameters.data(), samples.values.data() + first * stride, batch);
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
      visit(i, {pass.output(i), batch * graph.nodes[i].shape.count()});
    }
  }
}

// Squared error, in units of bins, of 8 bits over [low, high] for the values of a histogram over
// [from, from + kBins * width].
double SquaredError(std::span<const std::uint64_t> bins, double from, double width, double low,
                    double high) {
  const double step = std::max((high - low) / 255, std::numeric_limits<double>::min());
  double error = 0;
  for (std::size_t i = 0; i < bins.size(); ++i) {
    if (bins[i] == 0) continue;
    const double value = from + (static_cast<double>(i) + 0.5) * width;
    const double quantized =
        low + std::nearbyint((std::clamp(value, low, high) - low) / step) * step;
    error += static_cast<double>(bins[i]) * (value - quantized) * (value - quantized);
  }
  return error;
}

ActivationRange BestClip(std::span<const std::uint64_t> bins, const ActivationRange& range,
                         double width) {
  double least = std::numeric_limits<double>::infinity();
  ActivationRange best = range;
  for (int percent = 100; percent >= 50; --percent) {
    const double low = static_cast<double>(range.low) * percent / 100;
    const double high = static_cast<double>(range.high) * percent / 100;
    const double error = SquaredError(bins, static_cast<double>(range.low), width, low, high);
    if (error >= least) continue;
    least = error;
    best = {static_cast<float>(low), static_cast<float>(high)};
  }
  return best;
}

void ClipBySquaredError(ForwardPass& pass, const Samples& samples,
                        std::span<ActivationRange> ranges) {
  std::vector<double> widths;
  for (const ActivationRange& range : ranges) {
    widths.push_back((static_cast<double>(range.high) - static_cast<double>(range.low)) / kBins);
  }
  std::vector<std::vector<std::uint64_t>> bins(ranges.size(), std::vector<std::uint64_t>(kBins));
  ForEachOutput(pass, samples, [&](std::size_t node, std::span<const float> values) {
    if (widths[node] <= 0) return;
    for (const float value : values) {
      const double at =
          (static_cast<double>(value) - static_cast<double>(ranges[node].low)) / widths[node];
      ++bins[node][std::min(static_cast<std::size_t>(std::max(at, 0.0)), kBins - 1)];
    }
  });
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (widths[i] > 0) ranges[i] = BestClip(bins[i], ranges[i], widths[i]);
  }
}

}  // namespace

Result<std::vector<ActivationRange>> ObserveRanges(const Graph& graph,
                                                   std::span<const float> parameters,
                                                   std::span<const float> samples,
                                                   std::size_t count, RangeMethod method) {
  if (count == 0 || samples.size() % count != 0 ||
      samples.size() / count != graph.input_shape().count() ||
      parameters.size() != graph.parameters.total()) {
    return Error{ErrorCode::kInvalidArgument,
                 "calibration: expected samples of " + graph.input_shape().ToText() +
                     " and the graph's parameters, found " + std::to_string(samples.size()) +
                     " values for " + std::to_string(count) + " samples"};
  }
  FL_TRY(const std::unique_ptr<ForwardPass> pass,
         ForwardPass::Create(graph, kBatch, BestInstructionSet(), ForwardPass::Mode::kObserve));
  // Zero is in every range, since it must be representable.
  std::vector<ActivationRange> ranges(graph.nodes.size());
  bool finite = AllFinite(parameters);
  const Samples all = {parameters, samples, count};
  ForEachOutput(*pass, all, [&](std::size_t node, std::span<const float> values) {
    for (const float value : values) {
      finite = finite && std::isfinite(value);
      ranges[node].low = std::min(ranges[node].low, value);
      ranges[node].high = std::max(ranges[node].high, value);
    }
  });
  if (!finite)
    return Error{ErrorCode::kNotFinite, "calibration: a parameter or an output is not finite"};
  if (method == RangeMethod::kSquaredError) ClipBySquaredError(*pass, all, ranges);
  return ranges;
}

}  // namespace fl::nn
