#include "fl/common/nn/onnx/internal/imported_layers.h"

#include <algorithm>

#include "fl/common/nn/operator.h"

namespace fl::onnx::internal {
namespace {

constexpr std::size_t kNameMax = 56;  // Leaves room for a number within BuildGraph's 64.

// "/features/Conv_3" becomes "features_conv_3".
std::string Allowed(std::string_view name, std::string_view kind) {
  std::string allowed;
  for (const char c : name) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool letter = lower >= 'a' && lower <= 'z';
    const bool later = (lower >= '0' && lower <= '9') || lower == '_';
    if (letter || (later && !allowed.empty())) {
      allowed += lower;
    } else if (!allowed.empty() && allowed.back() != '_') {
      allowed += '_';
    }
    if (allowed.size() == kNameMax) break;
  }
  return allowed.empty() ? std::string(kind) : allowed;
}

bool SharesScale(nn::OpKind kind) {
  const nn::QuantizeRule rule = *nn::RulesOf(kind).quantize;
  return rule == nn::QuantizeRule::kClamp || rule == nn::QuantizeRule::kCommutes;
}

}  // namespace

ImportedLayers::ImportedLayers(Shape input) {
  ImportedLayer layer;
  layer.name = "input";
  layer.shape = std::move(input);
  names_.insert(layer.name);
  layers_.push_back(std::move(layer));
}

std::size_t ImportedLayers::Add(ImportedLayer layer) {
  const std::string wanted = Allowed(layer.name, nn::RulesOf(layer.kind).name);
  layer.name = wanted;
  for (std::size_t i = 2; !names_.insert(layer.name).second; ++i)
    layer.name = wanted + "_" + std::to_string(i);
  layers_.push_back(std::move(layer));
  return layers_.size() - 1;
}

Result<nn::Graph> ImportedLayers::BuildGraph(std::string_view loss,
                                             const nn::GraphLimits& limits) const {
  std::vector<std::string> lines;
  for (std::size_t i = 1; i < layers_.size(); ++i) {
    const ImportedLayer& layer = layers_[i];
    std::string line = layer.name + ": " + std::string(nn::RulesOf(layer.kind).name) + layer.words;
    for (std::size_t k = 1; k < layer.inputs.size(); ++k)
      line += " " + layers_[layer.inputs[k]].name;
    if (layer.inputs[0] + 1 != i) line += " from=" + layers_[layer.inputs[0]].name;
    lines.push_back(std::move(line));
  }
  FL_TRY(nn::Graph graph, nn::BuildGraph(layers_[0].shape, lines, loss, nullptr, limits));
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (graph.nodes[i].shape == layers_[i].shape) continue;
    return Error{ErrorCode::kShapeMismatch,
                 "ONNX: layer " + layers_[i].name + ": expected an output of " +
                     graph.nodes[i].shape.ToText() + ", found " + layers_[i].shape.ToText()};
  }
  return graph;
}

// What only a ReLU reads takes its scale from there; what only moves values, from its input.
Result<> ImportedLayers::InferScales() {
  std::vector<std::size_t> readers(layers_.size());
  for (const ImportedLayer& layer : layers_) {
    for (const std::size_t input : layer.inputs) ++readers[input];
  }
  for (std::size_t i = layers_.size(); i-- > 1;) {
    ImportedLayer& layer = layers_[i];
    const bool clamp = *nn::RulesOf(layer.kind).quantize == nn::QuantizeRule::kClamp;
    if (clamp && layer.scale && readers[layer.inputs[0]] == 1 && !layers_[layer.inputs[0]].scale)
      layers_[layer.inputs[0]].scale = layer.scale;
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    ImportedLayer& layer = layers_[i];
    if (!layer.scale && i > 0 && SharesScale(layer.kind))
      layer.scale = layers_[layer.inputs[0]].scale;
    const bool last = i + 1 == layers_.size();
    if (!layer.scale && last && !layer.quantized.weight.empty())
      layer.scale = nn::ActivationScale{};
    if (!layer.scale) {
      return Error{ErrorCode::kUnsupported, "ONNX: layer " + layer.name +
                                                ": expected QuantizeLinear after it, as after "
                                                "every activation of an int8 model"};
    }
  }
  return {};
}

Result<std::variant<nn::FloatModel, nn::QuantizedModel>> ImportedLayers::Build(
    std::string_view loss, bool integer, const nn::GraphLimits& limits) {
  FL_TRY(nn::Graph graph, BuildGraph(loss, limits));
  if (integer) {
    FL_TRY_OK(InferScales());
    nn::QuantizedModel model;
    model.graph = std::move(graph);
    for (ImportedLayer& layer : layers_) {
      model.activations.push_back(*layer.scale);
      model.nodes.push_back(std::move(layer.quantized));
    }
    if (const auto valid = model.Validate(); !valid) return valid.error().At("ONNX");
    return std::variant<nn::FloatModel, nn::QuantizedModel>(std::move(model));
  }
  nn::FloatModel model;
  model.parameters.reserve(graph.parameters.total());
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    for (const std::size_t tensor : graph.nodes[i].parameters) {
      const TensorSpec& spec = graph.parameters[tensor];
      const std::vector<float>& values =
          layers_[i].parameters[spec.name.substr(layers_[i].name.size())];
      if (values.size() != spec.shape.count()) {
        return Error{ErrorCode::kShapeMismatch, "ONNX: tensor " + spec.name + ": expected " +
                                                    std::to_string(spec.shape.count()) +
                                                    " values, found " +
                                                    std::to_string(values.size())};
      }
      model.parameters.insert(model.parameters.end(), values.begin(), values.end());
    }
  }
  model.graph = std::move(graph);
  return std::variant<nn::FloatModel, nn::QuantizedModel>(std::move(model));
}

}  // namespace fl::onnx::internal
