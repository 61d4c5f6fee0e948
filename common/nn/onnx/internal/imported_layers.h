#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fl/common/nn/model_file.h"

namespace fl::onnx::internal {

// One layer on its way from a file's operators to a graph.
struct ImportedLayer {
  std::string name;
  nn::OpKind kind = nn::OpKind::kInput;
  std::string words;                // Of its line, between the operator and the operands.
  std::vector<std::size_t> inputs;  // Earlier layers.
  Shape shape;                      // Of the output, as the graph must infer it.
  std::map<std::string, std::vector<float>> parameters;  // By suffix: ".weight", ...
  nn::QuantizedNode quantized;                           // Of a product in int8.
  std::optional<nn::ActivationScale> scale;              // Of the output in int8.
};

// The layers read so far, the input first.
class ImportedLayers {
 public:
  explicit ImportedLayers(Shape input);

  std::size_t size() const { return layers_.size(); }
  ImportedLayer& operator[](std::size_t i) { return layers_[i]; }
  const ImportedLayer& operator[](std::size_t i) const { return layers_[i]; }
  // Appends a layer; its name becomes one that fl allows and no other layer has.
  std::size_t Add(ImportedLayer layer);

  // The graph and its parameters or integers; the last layer is the output. What BuildGraph and
  // QuantizedModel::Validate refuse keeps its code.
  Result<std::variant<nn::FloatModel, nn::QuantizedModel>> Build(std::string_view loss,
                                                                 bool integer,
                                                                 const nn::GraphLimits& limits);

 private:
  Result<nn::Graph> BuildGraph(std::string_view loss, const nn::GraphLimits& limits) const;
  Result<> InferScales();

  std::vector<ImportedLayer> layers_;
  std::set<std::string> names_;
};

}  // namespace fl::onnx::internal
