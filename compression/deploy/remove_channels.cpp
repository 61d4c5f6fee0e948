#include "fl/compression/deploy/remove_channels.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/operator.h"
#include "fl/compression/deploy/rewrite_graph.h"

namespace fl::deploy {
namespace {

using Removed = std::span<const std::uint8_t>;

bool HasWeight(const nn::Node& node) {
  return node.kind == nn::OpKind::kDense || node.kind == nn::OpKind::kConv2d ||
         node.kind == nn::OpKind::kDepthwise;
}

std::span<const float> TensorOf(const nn::Graph& graph, std::span<const float> parameters,
                                std::size_t tensor) {
  return parameters.subspan(graph.parameters.offset(tensor),
                            graph.parameters[tensor].shape.count());
}

double Activate(nn::OpKind kind, double x) {
  switch (kind) {
    case nn::OpKind::kRelu:
      return std::max(x, 0.0);
    case nn::OpKind::kRelu6:
      return std::clamp(x, 0.0, 6.0);
    case nn::OpKind::kHardSwish:
      return x * std::clamp(x + 3.0, 0.0, 6.0) / 6.0;
    case nn::OpKind::kSigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case nn::OpKind::kTanh:
      return std::tanh(x);
    default:
      return x;  // Pools and flatten leave a constant what it is.
  }
}

// Whether the convolution reads zeros beyond its input.
bool Pads(const nn::Graph& graph, const nn::Node& node) {
  if (node.kind == nn::OpKind::kDense || !node.same_padding) return false;
  const Shape& input = graph.nodes[node.inputs[0]].shape;
  return (node.shape[0] - 1) * node.stride + node.kernel_height > input[0] ||
         (node.shape[1] - 1) * node.stride + node.kernel_width > input[1];
}

// Follows the constants of removed channels through the graph, node by node; entries of channels
// that stay mean nothing.
class Constants {
 public:
  Constants(const nn::Graph& graph, std::span<const float> parameters, const ChannelGroups& groups,
            Removed removed)
      : graph_(graph), parameters_(parameters), groups_(groups), removed_(removed) {
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) values_.push_back(Visit(i));
  }

  bool IsRemoved(std::size_t node, std::size_t channel) const {
    return removed_[groups_.units[node][channel]] != 0;
  }
  double value(std::size_t node, std::size_t channel) const { return values_[node][channel]; }

 private:
  std::span<const float> Tensor(const nn::Node& node, std::size_t position) const {
    return TensorOf(graph_, parameters_, node.parameters[position]);
  }

  std::vector<double> Visit(std::size_t index) const {
    const nn::Node& node = graph_.nodes[index];
    std::vector<double> values(groups_.units[index].size(), 0.0);
    if (node.kind == nn::OpKind::kInput) return values;
    const std::vector<double>& input = values_[node.inputs[0]];
    std::size_t offset = 0;
    switch (node.kind) {
      case nn::OpKind::kDense:
      case nn::OpKind::kConv2d:
        values = OwnerConstants(index);
        break;
      case nn::OpKind::kDepthwise:
        for (std::size_t c = 0; c < values.size(); ++c) values[c] = DepthwiseConstant(node, c);
        break;
      case nn::OpKind::kBatchNorm:
        for (std::size_t c = 0; c < values.size(); ++c) {
          const double scale = Tensor(node, 0)[c] /
                               std::sqrt(std::max(static_cast<double>(Tensor(node, 3)[c]), 0.0) +
                                         static_cast<double>(nn::kNormEpsilon));
          values[c] = scale * (input[c] - Tensor(node, 2)[c]) + Tensor(node, 1)[c];
        }
        break;
      case nn::OpKind::kAdd:
      case nn::OpKind::kMultiply:
        values = input;
        for (const std::size_t operand : std::span(node.inputs).subspan(1)) {
          for (std::size_t c = 0; c < values.size(); ++c) {
            const double other = values_[operand][c];
            values[c] = node.kind == nn::OpKind::kAdd ? values[c] + other : values[c] * other;
          }
        }
        break;
      case nn::OpKind::kConcat:
        for (const std::size_t operand : node.inputs) {
          for (const double value : values_[operand]) values[offset++] = value;
        }
        break;
      case nn::OpKind::kLayerNorm:
      case nn::OpKind::kReshape:
        break;  // Nothing before them or in them is removed.
      default:
        for (std::size_t c = 0; c < values.size(); ++c)
          values[c] = Activate(node.kind, input[c % input.size()]);
    }
    return values;
  }

  // The bias; or, where a batch norm alone reads the layer, its running mean.
  std::vector<double> OwnerConstants(std::size_t index) const {
    const std::optional<std::size_t> reader = OnlyReader(graph_, index);
    const bool norm = reader && graph_.nodes[*reader].kind == nn::OpKind::kBatchNorm;
    const std::span<const float> values =
        norm ? Tensor(graph_.nodes[*reader], 2) : Tensor(graph_.nodes[index], 1);
    return {values.begin(), values.end()};
  }

  double DepthwiseConstant(const nn::Node& node, std::size_t channel) const {
    const std::span<const float> weight = Tensor(node, 0);
    const std::size_t channels = node.shape[2];
    double sum = 0;
    for (std::size_t i = channel; i < weight.size(); i += channels) sum += weight[i];
    return Tensor(node, 1)[channel] + sum * values_[node.inputs[0]][channel];
  }

  const nn::Graph& graph_;
  std::span<const float> parameters_;
  const ChannelGroups& groups_;
  Removed removed_;
  std::vector<std::vector<double>> values_;  // Of each node visited, for each channel.
};

// Adds what the removed inputs of an ordinary conv or dense layer said to its bias; whether that
// was anything.
bool Absorb(const nn::Graph& graph, const Constants& constants, std::size_t index,
            std::span<float> parameters) {
  const nn::Node& node = graph.nodes[index];
  const std::size_t inputs = graph.parameters[node.parameters[0]]
                                 .shape[graph.parameters[node.parameters[0]].shape.rank() - 2];
  const std::span<float> bias = parameters.subspan(graph.parameters.offset(node.parameters[1]),
                                                   node.shape[node.shape.rank() - 1]);
  const std::span<const float> weight = TensorOf(graph, parameters, node.parameters[0]);
  std::vector<double> sums(bias.size(), 0.0);
  bool any = false;
  for (std::size_t row = 0; row < weight.size() / bias.size(); ++row) {
    const std::size_t channel = row % inputs;
    if (!constants.IsRemoved(node.inputs[0], channel)) continue;
    const double constant = constants.value(node.inputs[0], channel);
    if (constant == 0) continue;
    any = true;
    for (std::size_t i = 0; i < sums.size(); ++i)
      sums[i] += constant * weight[row * bias.size() + i];
  }
  for (std::size_t i = 0; i < sums.size(); ++i) bias[i] = static_cast<float>(bias[i] + sums[i]);
  return any;
}

Result<> CheckRemoved(const nn::Graph& graph, const ChannelGroups& groups, Removed removed) {
  FL_CHECK(removed.size() == groups.unit_count, "one flag for each unit");
  for (const ChannelGroup& group : groups.groups) {
    std::size_t gone = 0;
    for (const std::uint32_t unit : group.units) gone += removed[unit] != 0 ? 1 : 0;
    const std::string& name = graph.nodes[group.owners[0]].name;
    if (gone > 0 && !group.why_whole.empty()) {
      return Error{ErrorCode::kInvalidArgument,
                   "expected " + name + " to stay whole, since " + group.why_whole};
    }
    if (gone == group.units.size()) {
      return Error{ErrorCode::kInvalidArgument,
                   "expected a channel of " + name + " to stay, found all removed"};
    }
  }
  return {};
}

// How the node's tensors are cut.
std::vector<AxisSelection> SelectionsOf(const nn::Graph& graph, const ChannelGroups& groups,
                                        Removed removed, std::size_t index) {
  const nn::Node& node = graph.nodes[index];
  std::vector<AxisSelection> selections;
  if (node.parameters.empty()) return selections;
  const std::vector<std::size_t> outputs = KeptIndices(groups, index, removed);
  for (const std::size_t tensor : node.parameters) {
    const TensorSpec& spec = graph.parameters[tensor];
    selections.push_back({spec.name, spec.shape.rank() - 1, outputs});
  }
  const bool reads_all =
      node.kind == nn::OpKind::kDense || (node.kind == nn::OpKind::kConv2d && node.groups == 1);
  if (reads_all) {
    const TensorSpec& weight = graph.parameters[node.parameters[0]];
    selections.push_back(
        {weight.name, weight.shape.rank() - 2, KeptIndices(groups, node.inputs[0], removed)});
  }
  return selections;
}

std::vector<AxisSelection> AllSelections(const nn::Graph& graph, const ChannelGroups& groups,
                                         Removed removed) {
  std::vector<AxisSelection> selections;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    for (AxisSelection& selection : SelectionsOf(graph, groups, removed, i))
      selections.push_back(std::move(selection));
  }
  return selections;
}

Result<nn::Graph> CutGraph(const nn::Graph& graph, const ChannelGroups& groups, Removed removed) {
  GraphEditor editor(graph);
  for (std::size_t i = 1; i < graph.nodes.size(); ++i) {
    const nn::Node& node = graph.nodes[i];
    if (nn::RulesOf(node.kind).prune != nn::PruneRule::kOwnsChannels) continue;
    const std::size_t kept = KeptIndices(groups, i, removed).size();
    const std::size_t channels = node.shape[node.shape.rank() - 1];
    if (kept == channels) continue;
    FL_TRY_OK(editor.SetChannels(node.name, kept));
    if (node.groups > 1) FL_TRY_OK(editor.SetGroups(node.name, node.groups * kept / channels));
  }
  return editor.Build();
}

}  // namespace

void MaskChannels(const nn::Graph& graph, const ChannelGroups& groups, Removed removed,
                  std::span<float> parameters) {
  const Constants constants(graph, parameters, groups, removed);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const nn::Node& node = graph.nodes[i];
    if (!HasWeight(node)) continue;
    const std::size_t channels = groups.units[i].size();
    const std::span<float> weight =
        parameters.subspan(graph.parameters.offset(node.parameters[0]),
                           graph.parameters[node.parameters[0]].shape.count());
    const std::size_t bias = graph.parameters.offset(node.parameters[1]);
    for (std::size_t c = 0; c < channels; ++c) {
      if (!constants.IsRemoved(i, c)) continue;
      for (std::size_t at = c; at < weight.size(); at += channels) weight[at] = 0;
      parameters[bias + c] = static_cast<float>(constants.value(i, c));
    }
  }
}

Result<SmallerModel> RemoveChannels(const nn::Graph& graph, std::span<const float> parameters,
                                    const ChannelGroups& groups, Removed removed, bool absorb) {
  FL_TRY_OK(CheckRemoved(graph, groups, removed));
  SmallerModel smaller;
  FL_TRY(smaller.graph, CutGraph(graph, groups, removed));
  std::vector<float> absorbed(parameters.begin(), parameters.end());
  if (absorb) {
    const Constants constants(graph, parameters, groups, removed);
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
      const nn::Node& node = graph.nodes[i];
      const bool reads_all =
          HasWeight(node) && node.kind != nn::OpKind::kDepthwise && node.groups == 1;
      if (reads_all && Absorb(graph, constants, i, absorbed) && Pads(graph, node))
        smaller.padded.push_back(node.name);
    }
  }
  FL_TRY(smaller.parameters,
         CarryTensors(graph, absorbed, smaller.graph, AllSelections(graph, groups, removed)));
  return smaller;
}

std::map<std::string, std::vector<std::uint8_t>> CutMasks(
    const nn::Graph& graph, const ChannelGroups& groups, Removed removed,
    const std::map<std::string, std::vector<std::uint8_t>>& masks) {
  std::map<std::string, std::vector<std::uint8_t>> cut = masks;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const std::size_t tensor : graph.nodes[i].parameters) {
      const auto mask = cut.find(graph.parameters[tensor].name);
      if (mask == cut.end()) continue;
      Shape shape = graph.parameters[tensor].shape;
      for (const AxisSelection& selection : SelectionsOf(graph, groups, removed, i)) {
        if (selection.tensor != mask->first) continue;
        mask->second =
            SelectAlongAxis<std::uint8_t>(mask->second, shape, selection.axis, selection.kept);
        std::vector<std::size_t> extents(shape.extents().begin(), shape.extents().end());
        extents[selection.axis] = selection.kept.size();
        shape = Shape(std::move(extents));
      }
    }
  }
  return cut;
}

}  // namespace fl::deploy
