#include "fl/common/nn/plain_graph.h"

#include <algorithm>

namespace fl::nn {
namespace {

bool IsFrozen(const Graph& graph, std::size_t tensor) {
  return std::ranges::binary_search(graph.frozen, tensor);
}

bool IsStatistic(const Graph& graph, std::size_t tensor) {
  return std::ranges::binary_search(graph.statistics, tensor);
}

// Height x width x channels_in x channels_out, or inputs x outputs.
Shape WeightShape(const Graph& graph, const Node& node) {
  const Shape& input = graph.nodes[node.inputs[0]].shape;
  if (node.kind == OpKind::kDense) return Shape{input[0], node.shape[0]};
  return Shape{node.kernel_height, node.kernel_width, input[2] / node.groups, node.shape[2]};
}

}  // namespace

bool IsFactored(const Graph& graph) {
  return std::ranges::any_of(
      graph.nodes, [](const Node& node) { return node.factoring.kind != FactorKind::kNone; });
}

Result<> ExpectPlain(const Graph& graph, std::string_view what) {
  if (!IsFactored(graph)) return {};
  return Error{ErrorCode::kUnsupported,
               std::string(what) + ": expected layers without lora and fedpara"};
}

Graph PlainGraph(const Graph& graph) {
  if (!IsFactored(graph)) return graph;
  Graph plain = graph;
  plain.frozen.clear();
  plain.statistics.clear();
  std::vector<TensorSpec> specs;
  const auto append = [&](TensorSpec spec, bool frozen, bool statistic) {
    if (frozen) plain.frozen.push_back(specs.size());
    if (statistic) plain.statistics.push_back(specs.size());
    specs.push_back(std::move(spec));
  };
  for (Node& node : plain.nodes) {
    std::vector<std::size_t> tensors = std::move(node.parameters);
    node.parameters.clear();
    if (node.factoring.kind != FactorKind::kNone) {
      const bool fixed = std::all_of(tensors.begin(), tensors.end() - 1,
                                     [&](std::size_t tensor) { return IsFrozen(graph, tensor); });
      node.parameters.push_back(specs.size());
      append({node.name + ".weight", WeightShape(graph, node)}, fixed, false);
      tensors.erase(tensors.begin(), tensors.end() - 1);
    }
    for (const std::size_t tensor : tensors) {
      node.parameters.push_back(specs.size());
      append(graph.parameters[tensor], IsFrozen(graph, tensor), IsStatistic(graph, tensor));
    }
    node.factoring = {};
  }
  plain.parameters = TensorLayout(std::move(specs));
  return plain;
}

std::vector<CoordinateRange> TrainedRanges(const Graph& graph) {
  std::vector<CoordinateRange> ranges;
  for (std::size_t i = 0; i < graph.parameters.size(); ++i) {
    if (IsFrozen(graph, i) || IsStatistic(graph, i)) continue;
    const std::size_t first = graph.parameters.offset(i);
    const std::size_t count = graph.parameters[i].shape.count();
    if (!ranges.empty() && ranges.back().first + ranges.back().count == first) {
      ranges.back().count += count;
    } else {
      ranges.push_back({first, count});
    }
  }
  return ranges;
}

}  // namespace fl::nn
