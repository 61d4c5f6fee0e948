#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/nn/build_graph.h"
#include "fl/common/nn/quantized_model.h"

namespace fl::nn {

struct FloatModel {
  Graph graph;
  std::vector<float> parameters;  // graph.parameters.total(), in the layout's order.
};

// A model as it is kept: a safetensors file. The metadata holds "fl.format" = "1", "fl.input"
// ("28x28x1"), "fl.layers" (lines, see BuildGraph), "fl.loss", "fl.precision" ("fp32" or "int8")
// and, where given, "fl.labels" (lines), "fl.normalization" and "fl.note.KEY". Tensors, fp32: the
// layout's. int8: NAME.weight (I8, output channel first), NAME.scale (F32), NAME.bias (I32) for
// each layer with parameters, then activation.scale (F32) and activation.zero_point (I32), one
// value for each node.
struct ModelFile {
  std::variant<FloatModel, QuantizedModel> model;
  std::vector<std::string>
      labels;                 // Names of the classes; none, or one for each output. No line feeds.
  std::string normalization;  // How raw data becomes the input, in the plan's words; may be empty.
  std::map<std::string, std::string> notes;  // Provenance: "round", "teacher", ...

  const Graph& graph() const;
};

struct ModelFileLimits {
  std::uint64_t bytes_max = std::uint64_t{1} << 34;
  GraphLimits graph;
};

// Reads a model file that may be hostile. kMalformed, kLimitExceeded, kUnsupported (format,
// precision), kShapeMismatch, kNotFinite; what BuildGraph refuses keeps its code.
Result<ModelFile> ParseModelFile(ByteSpan bytes, const ModelFileLimits& limits = {});

// The file's bytes: deterministic. The model must be valid.
Bytes SerializeModelFile(const ModelFile& file);

}  // namespace fl::nn
