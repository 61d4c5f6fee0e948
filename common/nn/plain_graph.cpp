#include "fl/common/nn/plain_graph.h"

#include <algorithm>

namespace fl::nn {
namespace {

bool IsFrozen(const Graph& graph, std::size_t tensor) {
  return std::ranges::binary_search(graph.frozen, tensor);
}

// Height x width x channels_in x channels_out, or inputs x outputs.
Shape WeightShape(const Graph& graph, const Node& node) {
  const Shape& input = graph.nodes[node.inputs[0]].shape;
  if (node.kind == OpKind::kDense) return Shape{input[0], node.shape[0]};
  return Shape{node.kernel_height, node.kernel_width, input[2], node.shape[2]};
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
  std::vector<TensorSpec> specs;
  for (Node& node : plain.nodes) {
    if (node.parameters.empty()) continue;
    const std::size_t bias = node.parameters.back();
    const bool fixed = std::all_of(node.parameters.begin(), node.parameters.end() - 1,
                                   [&](std::size_t tensor) { return IsFrozen(graph, tensor); });
    if (fixed) plain.frozen.push_back(specs.size());
    if (IsFrozen(graph, bias)) plain.frozen.push_back(specs.size() + 1);
    node.parameters = {specs.size(), specs.size() + 1};
    node.factoring = {};
    specs.push_back({node.name + ".weight", WeightShape(graph, node)});
    specs.push_back({node.name + ".bias", graph.parameters[bias].shape});
  }
  plain.parameters = TensorLayout(std::move(specs));
  return plain;
}

std::vector<CoordinateRange> TrainedRanges(const Graph& graph) {
  std::vector<CoordinateRange> ranges;
  for (std::size_t i = 0; i < graph.parameters.size(); ++i) {
    if (IsFrozen(graph, i)) continue;
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
