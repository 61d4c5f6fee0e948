#include "fl/common/nn/quantized_model.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "fl/common/nn/operator.h"
#include "fl/common/nn/plain_graph.h"

namespace fl::nn {
namespace {

// A sum of kDepthMax products of 8 bits (127 * 255 each) and a bias of kBiasMax stays below 2^31,
// and so does the sum of kPixelsMax values.
constexpr std::size_t kDepthMax = 33000;
constexpr std::int32_t kBiasMax = 1 << 30;
constexpr std::size_t kPixelsMax = 8000000;

Error Malformed(const Node& node, std::string_view what) {
  return {ErrorCode::kMalformed, "node " + node.name + ": " + std::string(what)};
}

bool IsPositive(float value) {
  return std::isfinite(value) && value > 0;
}

bool IsFinite(float value) {
  return std::isfinite(value);
}

QuantizeRule RuleOf(const Node& node) {
  return *RulesOf(node.kind).quantize;
}

bool KeepsScale(const Node& node) {
  return RuleOf(node) == QuantizeRule::kCommutes || RuleOf(node) == QuantizeRule::kClamp;
}

// Channels and inputs of each channel of a product's weight, whose last extent are the channels.
struct ProductSize {
  std::size_t depth;
  std::size_t channels;
};

ProductSize SizeOf(const Graph& graph, const Node& node) {
  const Shape& weight = graph.parameters[node.parameters[0]].shape;
  const std::size_t channels = weight[weight.rank() - 1];
  return {weight.count() / channels, channels};
}

// Why 32 bits do not suffice for a node's sums; empty when they do.
std::string WhyTooLong(const Graph& graph, const Node& node) {
  if (RuleOf(node) == QuantizeRule::kMultiply && SizeOf(graph, node).depth > kDepthMax) {
    return "expected at most " + std::to_string(kDepthMax) + " inputs for an output";
  }
  const Shape& input = graph.nodes[node.inputs[0]].shape;
  const std::size_t pixels = node.kind == OpKind::kGlobalAvgPool
                                 ? input[0] * input[1]
                                 : node.kernel_height * node.kernel_width;
  const bool averages = node.kind == OpKind::kGlobalAvgPool || node.kind == OpKind::kAvgPool;
  if (averages && pixels > kPixelsMax) return "too many pixels for sums of 32 bits";
  return {};
}

Result<> ExpectInteger(const Graph& graph) {
  for (const Node& node : graph.nodes) {
    if (RuleOf(node) != QuantizeRule::kFold) continue;
    return Error{ErrorCode::kUnsupported, "node " + node.name +
                                              ": batch norm has no integer form; fold it first "
                                              "(pass fold_batchnorm)"};
  }
  return {};
}

Result<> ValidateProduct(const QuantizedModel& model, std::size_t i) {
  const Graph& graph = model.graph;
  const Node& node = graph.nodes[i];
  const QuantizedNode& quantized = model.nodes[i];
  const bool dynamic = model.dynamic();
  const ProductSize size = SizeOf(graph, node);
  const std::size_t biases = dynamic ? quantized.float_bias.size() : quantized.bias.size();
  const std::size_t others = dynamic ? quantized.bias.size() : quantized.float_bias.size();
  if (quantized.weight.size() != size.depth * size.channels ||
      quantized.weight_scale.size() != size.channels || biases != size.channels || others != 0 ||
      !quantized.gamma.empty() || !quantized.beta.empty()) {
    return Malformed(node, "expected a weight, scales and biases of the graph's sizes");
  }
  if (!std::ranges::all_of(quantized.weight_scale, IsPositive)) {
    return Malformed(node, "expected weight scales that are positive and finite");
  }
  if (std::ranges::find(quantized.weight, std::int8_t{-128}) != quantized.weight.end()) {
    return Malformed(node, "expected weights in [-127, 127], found -128");
  }
  if (!std::ranges::all_of(quantized.float_bias, IsFinite))
    return Malformed(node, "expected biases to be finite");
  for (const std::int32_t bias : quantized.bias) {
    if (bias > kBiasMax || bias < -kBiasMax)
      return Malformed(node, "expected biases in [-2^30, 2^30]");
  }
  const std::string why = WhyNotCoded(quantized, size.depth);
  if (!why.empty()) return Malformed(node, why);
  return {};
}

Result<> ValidateLayerNorm(const Node& node, const QuantizedNode& quantized) {
  const std::size_t channels = node.shape[node.shape.rank() - 1];
  const bool fits = quantized.gamma.size() == channels && quantized.beta.size() == channels;
  if (!fits || !quantized.weight.empty() || !quantized.bias.empty() ||
      !quantized.float_bias.empty())
    return Malformed(node, "expected a gamma and a beta for each channel");
  if (std::ranges::all_of(quantized.gamma, IsFinite) &&
      std::ranges::all_of(quantized.beta, IsFinite)) {
    return {};
  }
  return Malformed(node, "expected gamma and beta to be finite");
}

Result<> ValidateScale(const QuantizedModel& model, std::size_t i) {
  const Node& node = model.graph.nodes[i];
  const ActivationScale& scale = model.activations[i];
  if (!IsPositive(scale.scale))
    return Malformed(node, "expected a scale that is positive and finite");
  if (scale.zero_point < -128 || scale.zero_point > 127) {
    return Malformed(
        node, "expected a zero point in [-128, 127], found " + std::to_string(scale.zero_point));
  }
  if (!node.inputs.empty() && KeepsScale(node) && !(scale == model.activations[node.inputs[0]])) {
    return Malformed(node, "expected the scale and zero point of its input");
  }
  return {};
}

Result<> ValidateNode(const QuantizedModel& model, std::size_t i) {
  const Node& node = model.graph.nodes[i];
  if (!model.dynamic()) FL_TRY_OK(ValidateScale(model, i));
  if (node.inputs.empty()) return {};
  const std::string why = WhyTooLong(model.graph, node);
  if (!why.empty()) return Malformed(node, why);
  if (node.kind == OpKind::kLayerNorm) return ValidateLayerNorm(node, model.nodes[i]);
  if (!node.parameters.empty()) return ValidateProduct(model, i);
  if (model.nodes[i] == QuantizedNode{}) return {};
  return Malformed(node, "expected no integers in a node without parameters");
}

struct QuantizeCall {
  float input_scale;
  WeightSpec spec;
  const WeightGrid* grid;  // Decided already; null: fitted to the weight by the spec.
};

bool FitsGrid(const Graph& graph, const Node& node, const WeightGrid& grid) {
  const ProductSize size = SizeOf(graph, node);
  return grid.depth == size.depth && grid.channels() == size.channels;
}

// Output channel first; the fp32 weight has it last.
Result<> QuantizeProduct(const Graph& graph, const Node& node, std::span<const float> parameters,
                         const QuantizeCall& call, QuantizedNode& to) {
  const ProductSize size = SizeOf(graph, node);
  const WeightMatrix weight = WeightOf(graph, node, parameters);
  const float* bias = parameters.data() + graph.parameters.offset(node.parameters[1]);
  std::vector<float> scale_min(size.channels);
  for (std::size_t c = 0; c < size.channels; ++c) {
    // A bias that dwarfs its channel's weights must still fit.
    scale_min[c] = std::abs(bias[c]) / call.input_scale / (static_cast<float>(kBiasMax) / 2);
  }
  WeightGrid fitted;
  if (call.grid == nullptr) {
    FL_TRY(fitted, FitWeightGrid(weight, call.spec, ClipOf(call.spec), scale_min));
  }
  static_cast<CodedWeight&>(to) =
      CodeOnGrid(call.grid == nullptr ? fitted : *call.grid, weight.values, scale_min);
  for (std::size_t c = 0; c < size.channels; ++c) {
    const double unit =
        static_cast<double>(call.input_scale) * static_cast<double>(to.weight_scale[c]);
    const double integer = std::nearbyint(static_cast<double>(bias[c]) / unit);
    to.bias.push_back(static_cast<std::int32_t>(
        std::clamp(integer, static_cast<double>(-kBiasMax), static_cast<double>(kBiasMax))));
  }
  return {};
}

std::vector<float> Tensor(const Graph& graph, std::span<const float> parameters, std::size_t i) {
  const auto values =
      parameters.subspan(graph.parameters.offset(i), graph.parameters[i].shape.count());
  return {values.begin(), values.end()};
}

}  // namespace

Result<> QuantizedModel::Validate() const {
  const std::size_t count = graph.nodes.size();
  if (count == 0 || nodes.size() != count || (!dynamic() && activations.size() != count)) {
    return Error{ErrorCode::kMalformed, "expected one scale for each node of the graph, or none"};
  }
  FL_TRY_OK(ExpectInteger(graph));
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

Result<std::vector<ActivationScale>> ScalesOf(const Graph& graph,
                                              std::span<const ActivationRange> ranges) {
  if (ranges.size() != graph.nodes.size()) {
    return Error{ErrorCode::kInvalidArgument, "quantize: expected a range for each node"};
  }
  std::vector<std::size_t> readers(graph.nodes.size());
  for (const Node& node : graph.nodes) {
    for (const std::size_t input : node.inputs) ++readers[input];
  }
  std::vector<ActivationRange> used(ranges.begin(), ranges.end());
  for (std::size_t i = graph.nodes.size(); i-- > 1;) {
    const Node& node = graph.nodes[i];
    if (KeepsScale(node) && readers[node.inputs[0]] == 1) used[node.inputs[0]] = used[i];
  }
  std::vector<ActivationScale> scales;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (!std::isfinite(used[i].high - used[i].low))
      return Error{ErrorCode::kNotFinite, "quantize: a range is not finite"};
    scales.push_back(KeepsScale(node) ? scales[node.inputs[0]] : ScaleOf(used[i]));
  }
  return scales;
}

Result<QuantizedModel> Quantize(const Graph& graph, std::span<const float> parameters,
                                std::span<const ActivationScale> scales,
                                std::span<const WeightSpec> weights, const WeightGrids& grids) {
  FL_TRY_OK(ExpectPlain(graph, "quantize"));
  FL_TRY_OK(ExpectInteger(graph));
  const std::size_t count = graph.nodes.size();
  if (parameters.size() != graph.parameters.total() || scales.size() != count ||
      (!weights.empty() && weights.size() != count)) {
    return Error{ErrorCode::kInvalidArgument,
                 "quantize: expected the graph's parameters, and for each node a scale and none or "
                 "one spec of its weights"};
  }
  if (!AllFinite(parameters))
    return Error{ErrorCode::kNotFinite, "quantize: a parameter is not finite"};
  QuantizedModel model{graph, {scales.begin(), scales.end()}, std::vector<QuantizedNode>(count)};
  for (std::size_t i = 1; i < count; ++i) {
    const Node& node = graph.nodes[i];
    const std::string why = WhyTooLong(graph, node);
    if (!why.empty())
      return Error{ErrorCode::kInvalidArgument, "quantize: node " + node.name + ": " + why};
    if (node.kind == OpKind::kLayerNorm) {
      model.nodes[i].gamma = Tensor(graph, parameters, node.parameters[0]);
      model.nodes[i].beta = Tensor(graph, parameters, node.parameters[1]);
    } else if (!node.parameters.empty()) {
      const WeightSpec spec = weights.empty() ? WeightSpec{} : weights[i];
      if (const auto valid = spec.Validate(); !valid) return valid.error().At("node " + node.name);
      if (!IsPositive(scales[node.inputs[0]].scale)) continue;  // Validate says so.
      const auto grid = grids.find(node.name);
      if (grid != grids.end() && !FitsGrid(graph, node, grid->second)) {
        return Error{ErrorCode::kInvalidArgument,
                     "quantize: node " + node.name + ": the weight's grid is of another size"};
      }
      FL_TRY_OK(QuantizeProduct(
          graph, node, parameters,
          {scales[node.inputs[0]].scale, spec, grid == grids.end() ? nullptr : &grid->second},
          model.nodes[i]));
    }
  }
  if (const auto valid = model.Validate(); !valid) {
    return Error{ErrorCode::kInvalidArgument, "quantize: " + valid.error().message};
  }
  return model;
}

Result<QuantizedModel> Quantize(const Graph& graph, std::span<const float> parameters,
                                std::span<const ActivationRange> ranges,
                                std::span<const WeightSpec> weights, const WeightGrids& grids) {
  FL_TRY(const std::vector<ActivationScale> scales, ScalesOf(graph, ranges));
  return Quantize(graph, parameters, scales, weights, grids);
}

// As if every scale were 1; the biases then stay what they were.
Result<QuantizedModel> QuantizeDynamic(const Graph& graph, std::span<const float> parameters,
                                       std::span<const WeightSpec> weights,
                                       const WeightGrids& grids) {
  const std::vector<ActivationScale> ones(graph.nodes.size(), {.scale = 1, .zero_point = 0});
  FL_TRY(QuantizedModel model, Quantize(graph, parameters, ones, weights, grids));
  model.activations.clear();
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    model.nodes[i].bias.clear();
    if (HasWeight(graph.nodes[i]))
      model.nodes[i].float_bias = Tensor(graph, parameters, graph.nodes[i].parameters[1]);
  }
  return model;
}

NamedTensors Dequantize(const QuantizedModel& model) {
  NamedTensors parameters(model.graph.parameters);
  for (std::size_t i = 0; i < model.graph.nodes.size(); ++i) {
    const Node& node = model.graph.nodes[i];
    if (node.parameters.empty()) continue;
    const QuantizedNode& from = model.nodes[i];
    if (node.kind == OpKind::kLayerNorm) {
      std::ranges::copy(from.gamma, parameters.tensor(node.parameters[0]).begin());
      std::ranges::copy(from.beta, parameters.tensor(node.parameters[1]).begin());
      continue;
    }
    const ProductSize size = SizeOf(model.graph, node);
    const float input_scale = model.dynamic() ? 1 : model.activations[node.inputs[0]].scale;
    for (std::size_t c = 0; c < size.channels; ++c) {
      for (std::size_t k = 0; k < size.depth; ++k) {
        parameters.tensor(node.parameters[0])[k * size.channels + c] =
            from.weight_scale[c] * static_cast<float>(from.weight[c * size.depth + k]);
      }
      parameters.tensor(node.parameters[1])[c] =
          model.dynamic() ? from.float_bias[c]
                          : input_scale * from.weight_scale[c] * static_cast<float>(from.bias[c]);
    }
  }
  return parameters;
}

}  // namespace fl::nn
