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

// How a file holds the values of an fp32 model.
enum class FloatStorage : std::uint8_t { kFp32, kFp16, kBf16 };

struct FloatModel {
  Graph graph;
  std::vector<float> parameters;  // graph.parameters.total(), in the layout's order.
  FloatStorage storage = FloatStorage::kFp32;
};

// What a value is after it was stored: rounded half to even; what 16 bits cannot hold becomes the
// largest finite value that they can.
float StoredValue(float value, FloatStorage storage);

// A model as it is kept: a safetensors file. The metadata holds "fl.format" = "1", "fl.input"
// ("28x28x1"), "fl.layers" (lines, see BuildGraph), "fl.loss", "fl.precision" ("fp32", "fp16",
// "bf16", "int8" or "int8-dynamic") and, where given, "fl.labels" (lines), "fl.normalization",
// "fl.coding", "fl.sparse" and "fl.note.KEY". Tensors, floats: the layout's, as F32, F16 or BF16.
// int8: for each product NAME.weight (I8, output channel first), NAME.scale (F32), NAME.bias (I32),
// for each layer norm NAME.gamma and NAME.beta (F32), then activation.scale (F32) and
// activation.zero_point (I32), one value for each node. int8-dynamic (QuantizedModel::dynamic):
// NAME.bias is F32, and there are no activation tensors.
//
// Weights of fewer bits (weight_coding.h) have a line in "fl.coding", in the order of the layers:
//   NAME BITS [group=N] [asymmetric]
// Their NAME.weight holds packed codes (U8, output channels x bytes of a channel), followed by
// NAME.multiplier (U8, output channels x groups) and, of asymmetric codes, NAME.zero (U8,
// likewise).
//
// A weight of 8 bits whose blocks of 4 output channels x 1 input are zero so often that it takes
// fewer bytes is named by a line of "fl.sparse": NAME.blocks (U8, quads of channels x bytes of a
// map) comes before NAME.weight (I8, blocks x 4), see sparse_blocks.h.
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
// precision, a batch norm in int8), kShapeMismatch, kNotFinite; what BuildGraph refuses keeps its
// code.
Result<ModelFile> ParseModelFile(ByteSpan bytes, const ModelFileLimits& limits = {});
// The same, for where memory is scarce: frees the bytes as soon as they are read.
Result<ModelFile> ParseModelFile(Bytes&& bytes, const ModelFileLimits& limits = {});

// The file's bytes: deterministic. The model must be valid.
Bytes SerializeModelFile(const ModelFile& file);

}  // namespace fl::nn
