#include "fl/compression/deploy/fold_batchnorm.h"

#include <algorithm>
#include <cmath>

#include "fl/common/nn/weight_grid.h"
#include "fl/compression/deploy/rewrite_graph.h"

namespace fl::deploy {
namespace {

std::size_t ReadersOf(const nn::Graph& graph, std::size_t node) {
  std::size_t readers = 0;
  for (const nn::Node& other : graph.nodes)
    readers += static_cast<std::size_t>(std::ranges::count(other.inputs, node));
  return readers;
}

bool CanFold(const nn::Graph& graph, const nn::Node& norm) {
  const std::size_t before = norm.inputs[0];
  return nn::HasWeight(graph.nodes[before]) && graph.nodes[before].parameters.size() == 2 &&
         ReadersOf(graph, before) == 1;
}

std::span<float> TensorOf(const nn::Graph& graph, std::size_t tensor, std::span<float> parameters) {
  return parameters.subspan(graph.parameters.offset(tensor),
                            graph.parameters[tensor].shape.count());
}

Result<> Fold(const nn::Graph& graph, const nn::Node& norm, std::span<float> parameters) {
  const nn::Node& product = graph.nodes[norm.inputs[0]];
  const std::span<float> weight = TensorOf(graph, product.parameters[0], parameters);
  const std::span<float> bias = TensorOf(graph, product.parameters[1], parameters);
  const std::span<const float> gamma = TensorOf(graph, norm.parameters[0], parameters);
  const std::span<const float> beta = TensorOf(graph, norm.parameters[1], parameters);
  const std::span<const float> mean = TensorOf(graph, norm.parameters[2], parameters);
  const std::span<const float> variance = TensorOf(graph, norm.parameters[3], parameters);
  for (std::size_t c = 0; c < bias.size(); ++c) {
    const double scale =
        static_cast<double>(gamma[c]) /
        std::sqrt(static_cast<double>(variance[c]) + static_cast<double>(nn::kNormEpsilon));
    if (!std::isfinite(scale)) {
      return Error{ErrorCode::kNotFinite,
                   "fold_batchnorm: variance " + std::to_string(variance[c]) + " of channel " +
                       std::to_string(c) + " of " + norm.name + " makes no scale"};
    }
    for (std::size_t i = c; i < weight.size(); i += bias.size())
      weight[i] = static_cast<float>(static_cast<double>(weight[i]) * scale);
    const double centred = static_cast<double>(bias[c]) - static_cast<double>(mean[c]);
    bias[c] = static_cast<float>(centred * scale + static_cast<double>(beta[c]));
  }
  return {};
}

}  // namespace

Result<FoldedModel> FoldBatchNorms(const nn::Graph& graph, std::span<const float> parameters) {
  if (parameters.size() != graph.parameters.total()) {
    return Error{ErrorCode::kInvalidArgument, "fold_batchnorm: expected the graph's " +
                                                  std::to_string(graph.parameters.total()) +
                                                  " parameters, found " +
                                                  std::to_string(parameters.size())};
  }
  FoldedModel folded;
  std::vector<float> changed(parameters.begin(), parameters.end());
  GraphEditor editor(graph);
  for (const nn::Node& node : graph.nodes) {
    if (node.kind != nn::OpKind::kBatchNorm) continue;
    if (!CanFold(graph, node)) {
      folded.left.push_back(node.name);
      continue;
    }
    FL_TRY_OK(Fold(graph, node, changed));
    FL_TRY_OK(editor.Remove(node.name));
    folded.folded.push_back(node.name);
  }
  FL_TRY(folded.model.graph, editor.Build());
  FL_TRY(folded.model.parameters, CarryTensors(graph, changed, folded.model.graph));
  return folded;
}

}  // namespace fl::deploy
