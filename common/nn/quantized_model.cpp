#include "fl/common/nn/quantized_model.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "fl/common/nn/operator.h"
#include "fl/common/nn/plain_graph.h"

namespace fl::nn {
namespace {

// A sum of kDepthMax products of 8 bits (127 * 255 each) and a bias of kBiasMax stays below 2^31.
constexpr std::size_t kDepthMax = 33000;
constexpr std::int32_t kBiasMax = 1 << 30;

Error Malformed(const Node& node, std::string_view what) {
  return {ErrorCode::kMalformed, "node " + node.name + ": " + std::string(what)};
}

bool IsPositive(float value) {
  return std::isfinite(value) && value > 0;
}

bool KeepsScale(OpKind kind) {
  const QuantizeRule rule = *RulesOf(kind).quantize;
  return rule == QuantizeRule::kCommutes || rule == QuantizeRule::kClamp;
}

struct ProductSize {
  std::size_t depth;
  std::size_t channels;
};

ProductSize SizeOf(const Graph& graph, const Node& node) {
  const Shape& weight = graph.parameters[node.parameters[0]].shape;
  const std::size_t channels = weight[weight.rank() - 1];
  return {weight.count() / channels, channels};
}

Result<> ValidateProduct(const Graph& graph, const Node& node, const QuantizedNode& quantized) {
  const ProductSize size = SizeOf(graph, node);
  if (size.depth > kDepthMax) return Malformed(node, "too many inputs for sums of 32 bits");
  if (quantized.weight.size() != size.depth * size.channels ||
      quantized.weight_scale.size() != size.channels || quantized.bias.size() != size.channels) {
    return Malformed(node, "expected a weight, scales and biases of the graph's sizes");
  }
  if (!std::ranges::all_of(quantized.weight_scale, IsPositive)) {
    return Malformed(node, "expected weight scales that are positive and finite");
  }
  if (std::ranges::find(quantized.weight, std::int8_t{-128}) != quantized.weight.end()) {
    return Malformed(node, "expected weights in [-127, 127], found -128");
  }
  for (const std::int32_t bias : quantized.bias) {
    if (bias > kBiasMax || bias < -kBiasMax)
      return Malformed(node, "expected biases in [-2^30, 2^30]");
  }
  return {};
}

Result<> ValidateNode(const QuantizedModel& model, std::size_t i) {
  const Node& node = model.graph.nodes[i];
  const ActivationScale& scale = model.activations[i];
  if (!IsPositive(scale.scale))
    return Malformed(node, "expected a scale that is positive and finite");
  if (scale.zero_point < -128 || scale.zero_point > 127) {
    return Malformed(
        node, "expected a zero point in [-128, 127], found " + std::to_string(scale.zero_point));
  }
  if (KeepsScale(node.kind) && !(scale == model.activations[node.inputs[0]])) {
    return Malformed(node, "expected the scale and zero point of its input");
  }
  if (!node.parameters.empty()) return ValidateProduct(model.graph, node, model.nodes[i]);
  if (model.nodes[i] == QuantizedNode{}) return {};
  return Malformed(node, "expected no integers in a node without parameters");
}

// Output channel first; the fp32 weight has it last.
void QuantizeProduct(const Graph& graph, const Node& node, std::span<const float> parameters,
                     float input_scale, QuantizedNode& to) {
  const ProductSize size = SizeOf(graph, node);
  const float* weight = parameters.data() + graph.parameters.offset(node.parameters[0]);
  const float* bias = parameters.data() + graph.parameters.offset(node.parameters[1]);
  to.weight.resize(size.depth * size.channels);
  for (std::size_t c = 0; c < size.channels; ++c) {
    float largest = 0;
    for (std::size_t k = 0; k < size.depth; ++k)
      largest = std::max(largest, std::abs(weight[k * size.channels + c]));
    // A bias that dwarfs its channel's weights must still fit; a channel of zeros takes any scale.
    const float for_bias = std::abs(bias[c]) / input_scale / (static_cast<float>(kBiasMax) / 2);
    const float scale = std::max({largest / 127.0F, for_bias, 1e-20F});
    for (std::size_t k = 0; k < size.depth; ++k) {
      const float value = std::nearbyint(weight[k * size.channels + c] / scale);
      to.weight[c * size.depth + k] = static_cast<std::int8_t>(std::clamp(value, -127.0F, 127.0F));
    }
    const double unit = static_cast<double>(input_scale) * static_cast<double>(scale);
    const double integer = std::nearbyint(static_cast<double>(bias[c]) / unit);
    to.weight_scale.push_back(scale);
    to.bias.push_back(static_cast<std::int32_t>(
        std::clamp(integer, static_cast<double>(-kBiasMax), static_cast<double>(kBiasMax))));
  }
}

}  // namespace

Result<> QuantizedModel::Validate() const {
  if (graph.nodes.empty() || activations.size() != graph.nodes.size() ||
      nodes.size() != graph.nodes.size()) {
    return Error{ErrorCode::kMalformed, "expected one scale for each node of the graph"};
  }
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) FL_TRY_OK(ValidateNode(*this, i));
  return {};
}

ActivationScale ScaleOf(const ActivationRange& range) {
  const float low = std::min(range.low, 0.0F);
  const float high = std::max(range.high, 0.0F);
  // A range of zero width has any scale.
  const double width = std::max(static_cast<double>(high) - static_cast<double>(low), 1e-12);
  const float scale = static_cast<float>(width / 255);
  const double zero = std::nearbyint(-128 - static_cast<double>(low) / static_cast<double>(scale));
  return {scale, static_cast<std::int32_t>(std::clamp(zero, -128.0, 127.0))};
}

Result<QuantizedModel> Quantize(const Graph& graph, std::span<const float> parameters,
                                std::span<const ActivationRange> ranges) {
  FL_TRY_OK(ExpectPlain(graph, "quantize"));
  if (parameters.size() != graph.parameters.total() || ranges.size() != graph.nodes.size()) {
    return Error{ErrorCode::kInvalidArgument,
                 "quantize: expected the graph's parameters and a range for each node"};
  }
  for (const ActivationRange& range : ranges) {
    if (!std::isfinite(range.high - range.low))
      return Error{ErrorCode::kNotFinite, "quantize: a range is not finite"};
  }
  if (!AllFinite(parameters))
    return Error{ErrorCode::kNotFinite, "quantize: a parameter is not finite"};
  QuantizedModel model{graph, {}, std::vector<QuantizedNode>(graph.nodes.size())};
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    model.activations.push_back(KeepsScale(node.kind) ? model.activations[node.inputs[0]]
                                                      : ScaleOf(ranges[i]));
    if (node.parameters.empty()) continue;
    if (SizeOf(graph, node).depth > kDepthMax) {
      return Error{ErrorCode::kInvalidArgument, "quantize: node " + node.name + " has more than " +
                                                    std::to_string(kDepthMax) +
                                                    " inputs for an output"};
    }
    QuantizeProduct(graph, node, parameters, model.activations[node.inputs[0]].scale,
                    model.nodes[i]);
  }
  return model;
}

NamedTensors Dequantize(const QuantizedModel& model) {
  NamedTensors parameters(model.graph.parameters);
  for (std::size_t i = 0; i < model.graph.nodes.size(); ++i) {
    const Node& node = model.graph.nodes[i];
    if (node.parameters.empty()) continue;
    const ProductSize size = SizeOf(model.graph, node);
    const QuantizedNode& from = model.nodes[i];
    const float input_scale = model.activations[node.inputs[0]].scale;
    for (std::size_t c = 0; c < size.channels; ++c) {
      for (std::size_t k = 0; k < size.depth; ++k) {
        parameters.tensor(node.parameters[0])[k * size.channels + c] =
            from.weight_scale[c] * static_cast<float>(from.weight[c * size.depth + k]);
      }
      parameters.tensor(node.parameters[1])[c] =
          input_scale * from.weight_scale[c] * static_cast<float>(from.bias[c]);
    }
  }
  return parameters;
}

}  // namespace fl::nn
