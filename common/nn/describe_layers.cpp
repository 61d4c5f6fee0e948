#include <span>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/internal/layer_name.h"

namespace fl::nn {
namespace {

std::string DescribeKernel(const Node& node) {
  std::string text = std::to_string(node.kernel_height) + "x" + std::to_string(node.kernel_width);
  text += " stride=" + std::to_string(node.stride);
  return text + (node.same_padding ? " same" : " valid");
}

std::string DescribeFactoring(const Factoring& factoring) {
  const std::string rank = std::to_string(factoring.rank);
  if (factoring.kind == FactorKind::kFedPara) return " fedpara=" + rank;
  return " lora=" + rank + " alpha=" + std::to_string(factoring.alpha) +
         (factoring.both ? " both" : "");
}

}  // namespace

std::vector<std::string> DescribeLayers(const Graph& graph) {
  std::vector<std::string> lines;
  internal::NameCounts counts;
  for (std::size_t i = 1; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    std::string line =
        node.name == internal::AutomaticName(node.kind, counts) ? "" : node.name + ": ";
    line += RulesOf(node.kind).name;
    if (node.kind == OpKind::kDense) line += " " + std::to_string(node.shape[0]);
    if (node.kind == OpKind::kConv2d) line += " " + std::to_string(node.shape[2]);
    if (node.kind == OpKind::kReshape) line += " " + node.shape.ToText();
    if (node.kernel_height > 0) line += " " + DescribeKernel(node);
    if (node.groups > 1) line += " groups=" + std::to_string(node.groups);
    if (node.factoring.kind != FactorKind::kNone) line += DescribeFactoring(node.factoring);
    for (const std::size_t operand : std::span(node.inputs).subspan(1))
      line += " " + graph.nodes[operand].name;
    if (node.inputs[0] + 1 != i) line += " from=" + graph.nodes[node.inputs[0]].name;
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string_view LossName(LossKind loss) {
  return loss == LossKind::kSoftmaxCrossEntropy ? "softmax_cross_entropy" : "mean_squared_error";
}

std::size_t PaddingBefore(std::size_t input, std::size_t output, std::size_t kernel,
                          std::size_t stride, bool same) {
  const std::size_t covered = (output - 1) * stride + kernel;
  return same && covered > input ? (covered - input) / 2 : 0;
}

}  // namespace fl::nn
