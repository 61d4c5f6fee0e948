#include "fl/compression/deploy/equalize.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "fl/common/base/check.h"
#include "fl/common/nn/weight_grid.h"
#include "fl/compression/deploy/rewrite_graph.h"

namespace fl::deploy {
namespace {

constexpr std::size_t kSweepsMax = 20;
constexpr double kStill = 1e-3;

struct Pair {
  std::size_t first;
  std::size_t second;
};

bool LetsScalesPass(nn::OpKind kind) {
  switch (kind) {
    case nn::OpKind::kRelu:
    case nn::OpKind::kMaxPool:
    case nn::OpKind::kAvgPool:
    case nn::OpKind::kGlobalAvgPool:
    case nn::OpKind::kFlatten:
      return true;
    default:
      return false;
  }
}

bool IsProduct(const nn::Node& node) {
  return nn::HasWeight(node) && node.parameters.size() == 2;
}

std::vector<Pair> PairsOf(const nn::Graph& graph) {
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!IsProduct(graph.nodes[i])) continue;
    std::optional<std::size_t> next = OnlyReader(graph, i);
    while (next && LetsScalesPass(graph.nodes[*next].kind)) next = OnlyReader(graph, *next);
    if (next && IsProduct(graph.nodes[*next])) pairs.push_back({i, *next});
  }
  return pairs;
}

// Which channel of the layer before, one of `channels`, a value of a product's weight multiplies.
std::size_t InputChannelOf(const nn::Graph& graph, const nn::Node& node, std::size_t index,
                           std::size_t channels) {
  FL_CHECK(channels > 0, "a layer has channels");
  const Shape& shape = graph.parameters[node.parameters[0]].shape;
  const std::size_t outputs = shape[shape.rank() - 1];
  if (node.kind == nn::OpKind::kDepthwise) return index % outputs;
  const std::size_t row = index / outputs;
  if (node.kind == nn::OpKind::kDense) return row % channels;  // Flattened: channels last.
  const std::size_t of_group = shape[2];
  const std::size_t group = (index % outputs) / (outputs / node.groups);
  return group * of_group + row % of_group;
}

struct Views {
  std::span<float> first;  // Weight: output channel is the last extent.
  std::span<float> bias;
  std::span<float> second;
};

Views ViewsOf(const nn::Graph& graph, const Pair& pair, std::span<float> parameters) {
  const auto tensor = [&](std::size_t node, std::size_t i) {
    const std::size_t at = graph.nodes[node].parameters[i];
    return parameters.subspan(graph.parameters.offset(at), graph.parameters[at].shape.count());
  };
  return {tensor(pair.first, 0), tensor(pair.first, 1), tensor(pair.second, 0)};
}

// One pair's step; adds each channel's log of its scale to `moved` and returns the largest |log|.
double EqualizePair(const nn::Graph& graph, const Pair& pair, std::span<float> parameters,
                    std::vector<double>& moved) {
  const Views views = ViewsOf(graph, pair, parameters);
  const nn::Node& second = graph.nodes[pair.second];
  const std::size_t channels = views.bias.size();
  std::vector<float> first_range(channels, 0.0F);
  std::vector<float> second_range(channels, 0.0F);
  for (std::size_t i = 0; i < views.first.size(); ++i)
    first_range[i % channels] = std::max(first_range[i % channels], std::abs(views.first[i]));
  for (std::size_t i = 0; i < views.second.size(); ++i) {
    float& range = second_range[InputChannelOf(graph, second, i, channels)];
    range = std::max(range, std::abs(views.second[i]));
  }
  FL_CHECK(channels > 0, "a layer has channels");
  std::vector<float> scale(channels, 1.0F);
  double largest = 0;
  moved.resize(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    // A channel of zeros has no range to share.
    if (!(first_range[c] > 0) || !(second_range[c] > 0)) continue;
    scale[c] = std::sqrt(first_range[c]) / std::sqrt(second_range[c]);
    const double log = std::log(static_cast<double>(scale[c]));
    moved[c] += log;
    largest = std::max(largest, std::abs(log));
  }
  for (std::size_t i = 0; i < views.first.size(); ++i) views.first[i] /= scale[i % channels];
  for (std::size_t c = 0; c < channels; ++c) views.bias[c] /= scale[c];
  for (std::size_t i = 0; i < views.second.size(); ++i)
    views.second[i] *= scale[InputChannelOf(graph, second, i, channels)];
  return largest;
}

}  // namespace

Result<Equalized> Equalize(const nn::Graph& graph, std::span<float> parameters) {
  if (parameters.size() != graph.parameters.total()) {
    return Error{ErrorCode::kInvalidArgument,
                 "equalize: expected the graph's " + std::to_string(graph.parameters.total()) +
                     " parameters, found " + std::to_string(parameters.size())};
  }
  if (!AllFinite(parameters))
    return Error{ErrorCode::kNotFinite, "equalize: a parameter is not finite"};
  const std::vector<Pair> pairs = PairsOf(graph);
  Equalized equalized{.pairs = pairs.size()};
  std::vector<std::vector<double>> moved(pairs.size());
  double largest = pairs.empty() ? 0 : kStill;
  while (largest >= kStill && equalized.sweeps < kSweepsMax) {
    ++equalized.sweeps;
    largest = 0;
    for (std::size_t i = 0; i < pairs.size(); ++i)
      largest = std::max(largest, EqualizePair(graph, pairs[i], parameters, moved[i]));
  }
  for (const std::vector<double>& logs : moved) {
    for (const double log : logs)
      equalized.largest_scale = std::max(equalized.largest_scale, std::exp(std::abs(log)));
  }
  return equalized;
}

}  // namespace fl::deploy
