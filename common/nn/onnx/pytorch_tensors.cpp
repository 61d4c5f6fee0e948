#include "fl/common/nn/onnx/pytorch_tensors.h"

#include <algorithm>
#include <map>

#include "fl/common/nn/materialize.h"
#include "fl/common/nn/onnx/internal/weight_order.h"
#include "fl/common/nn/operator.h"
#include "fl/common/nn/plain_graph.h"
#include "fl/common/tensor/safetensors.h"

namespace fl::onnx {
namespace {

using internal::OutputChannel;
using internal::WeightExtents;
using nn::Node;
using nn::OpKind;

bool IsProduct(OpKind kind) {
  return nn::RulesOf(kind).quantize == nn::QuantizeRule::kMultiply;
}

bool KeepsOrder(OpKind kind) {
  const nn::QuantizeRule rule = *nn::RulesOf(kind).quantize;
  return rule == nn::QuantizeRule::kClamp || rule == nn::QuantizeRule::kLookup;
}

// For each node the image whose flattened values it yields, or an empty shape.
Result<std::vector<Shape>> FlattenedImages(const nn::Graph& graph) {
  std::vector<Shape> images(graph.nodes.size());
  for (std::size_t i = 1; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    for (const std::size_t input : node.inputs) {
      const Shape& image = graph.nodes[input].shape;
      const bool flattens = image.rank() == 3 && node.shape.rank() == 1 &&
                            (node.kind == OpKind::kFlatten || node.kind == OpKind::kReshape);
      if (flattens && image[2] > 1 && image[0] * image[1] > 1) images[i] = image;
      if (images[input].rank() == 0 || node.kind == OpKind::kDense) continue;
      if (!KeepsOrder(node.kind)) {
        return Error{ErrorCode::kUnsupported,
                     "PyTorch tensors: layer " + node.name +
                         ": expected a dense layer or an activation to read a flattened image"};
      }
      images[i] = images[input];
    }
  }
  return images;
}

std::string_view SuffixOf(const Node& node, std::size_t which) {
  constexpr std::string_view kSuffixes[] = {"weight", "bias", "running_mean", "running_var"};
  FL_CHECK(which < (node.kind == OpKind::kBatchNorm ? 4U : 2U), "parameters are weight and bias");
  return kSuffixes[which];
}

Shape StoredShape(const Node& node, const WeightExtents& extents) {
  if (node.kind == OpKind::kDense)
    return Shape{extents.outputs, extents.height * extents.width * extents.inputs};
  return Shape{extents.outputs, extents.inputs, extents.height, extents.width};
}

// What a file's tensor is called here: "features.3.bias" is of "features_3".
std::string LayerOf(std::string_view module) {
  std::string name = !module.empty() && module[0] >= '0' && module[0] <= '9' ? "layer_" : "";
  for (const char c : module) {
    const bool upper = c >= 'A' && c <= 'Z';
    name += c == '.' ? '_' : upper ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return name;
}

Result<nn::FloatModel> FloatsOf(const nn::ModelFile& file) {
  if (const auto* quantized = std::get_if<nn::QuantizedModel>(&file.model))
    return nn::FloatModel{quantized->graph, nn::Dequantize(*quantized).values};
  const auto& held = std::get<nn::FloatModel>(file.model);
  return nn::Materialize(held.graph, held.parameters);
}

std::map<std::string, std::string> MetadataOf(const nn::ModelFile& file, const nn::Graph& graph) {
  const auto join = [](const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
    return text;
  };
  std::map<std::string, std::string> metadata = {{"fl.input", graph.input_shape().ToText()},
                                                 {"fl.layers", join(nn::DescribeLayers(graph))}};
  if (!file.labels.empty()) metadata["fl.labels"] = join(file.labels);
  if (!file.normalization.empty()) metadata["fl.normalization"] = file.normalization;
  for (const auto& [key, value] : file.notes) metadata["fl.note." + key] = value;
  return metadata;
}

// The tensors of a file by layer and suffix, "conv1.weight".
Result<std::map<std::string, const StoredTensor*>> ByLayer(const SafetensorsFile& file) {
  std::map<std::string, const StoredTensor*> tensors;
  for (const StoredTensor& tensor : file.tensors) {
    const std::size_t dot = std::min(tensor.name.rfind('.'), tensor.name.size());
    const std::string suffix = tensor.name.substr(std::min(dot + 1, tensor.name.size()));
    if (suffix == "num_batches_tracked") continue;
    const std::string name = LayerOf(tensor.name.substr(0, dot)) + "." + suffix;
    if (tensors.emplace(name, &tensor).second) continue;
    return Error{ErrorCode::kMalformed,
                 "PyTorch tensors: expected one tensor \"" + name + "\", found two"};
  }
  return tensors;
}

Error Mismatch(const std::string& name, const Shape& expected, const std::string& found) {
  return {ErrorCode::kShapeMismatch,
          "PyTorch tensors: " + name + ": expected " + expected.ToText() + ", found " + found};
}

// Takes tensors out of a file's, in the layers' shapes.
class TensorReader {
 public:
  explicit TensorReader(std::map<std::string, const StoredTensor*> tensors)
      : tensors_(std::move(tensors)) {}

  Result<std::vector<float>> Take(const std::string& name, const Shape& expected, bool optional) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      if (optional) return std::vector<float>(expected.count());
      return Mismatch(name, expected, "none; there are" + Names());
    }
    const StoredTensor& tensor = *found->second;
    if (tensor.shape != expected) return Mismatch(name, expected, tensor.shape.ToText());
    tensors_.erase(found);
    return LoadFloats(tensor);
  }

  Result<> ExpectEmpty() const {
    if (tensors_.empty()) return {};
    return Error{ErrorCode::kShapeMismatch,
                 "PyTorch tensors: expected a layer for each tensor, found none for" + Names()};
  }

 private:
  // The first few of those that are left.
  std::string Names() const {
    std::string names;
    std::size_t count = 0;
    for (const auto& [name, tensor] : tensors_) {
      if (++count > 8) return names + " ...";
      names += " " + name.substr(0, 80);
    }
    return names;
  }

  std::map<std::string, const StoredTensor*> tensors_;
};

}  // namespace

Result<Bytes> ExportPytorchTensors(const nn::ModelFile& file) {
  FL_TRY(const nn::FloatModel model, FloatsOf(file));
  FL_TRY(const std::vector<Shape> images, FlattenedImages(model.graph));
  SafetensorsFile stored;
  stored.metadata = MetadataOf(file, model.graph);
  for (const Node& node : model.graph.nodes) {
    for (std::size_t which = 0; which < node.parameters.size(); ++which) {
      const std::size_t tensor = node.parameters[which];
      const Shape& shape = model.graph.parameters[tensor].shape;
      const auto values = std::span<const float>(model.parameters)
                              .subspan(model.graph.parameters.offset(tensor), shape.count());
      const std::string name = node.name + "." + std::string(SuffixOf(node, which));
      if (which > 0 || !IsProduct(node.kind)) {
        stored.tensors.push_back(StoreFloats(name, shape, values));
        continue;
      }
      const WeightExtents extents = internal::ExtentsOf(model.graph, node, images[node.inputs[0]]);
      stored.tensors.push_back(
          StoreFloats(name, StoredShape(node, extents),
                      internal::ToOnnxOrder(values, extents, OutputChannel::kLast)));
    }
  }
  return SerializeSafetensors(stored);
}

Result<nn::FloatModel> ImportPytorchTensors(ByteSpan bytes, const nn::Graph& graph) {
  FL_TRY_OK(nn::ExpectPlain(graph, "PyTorch tensors"));
  FL_TRY(const std::vector<Shape> images, FlattenedImages(graph));
  FL_TRY(const SafetensorsFile file, ParseSafetensors(bytes));
  FL_TRY(auto tensors, ByLayer(file));
  TensorReader reader(std::move(tensors));
  nn::FloatModel model{graph, {}};
  for (const Node& node : graph.nodes) {
    for (std::size_t which = 0; which < node.parameters.size(); ++which) {
      const Shape& shape = graph.parameters[node.parameters[which]].shape;
      const std::string name = node.name + "." + std::string(SuffixOf(node, which));
      std::vector<float> values;
      if (which > 0 || !IsProduct(node.kind)) {
        FL_TRY(values, reader.Take(name, shape, which == 1 && IsProduct(node.kind)));
      } else {
        const WeightExtents extents = internal::ExtentsOf(graph, node, images[node.inputs[0]]);
        FL_TRY(const std::vector<float> theirs,
               reader.Take(name, StoredShape(node, extents), false));
        values = internal::FromOnnxOrder<float>(theirs, extents, OutputChannel::kLast);
      }
      if (!AllFinite(values)) {
        return Error{ErrorCode::kNotFinite,
                     "PyTorch tensors: " + name + ": expected finite values"};
      }
      model.parameters.insert(model.parameters.end(), values.begin(), values.end());
    }
  }
  FL_TRY_OK(reader.ExpectEmpty());
  return model;
}

}  // namespace fl::onnx
