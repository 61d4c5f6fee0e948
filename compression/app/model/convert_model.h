#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fl/common/nn/model_file.h"

namespace fl::model_app {

// A model in another program's form. format: "onnx" (see onnx::ExportOnnx; layout is empty or
// "onnx"), or "safetensors" with the layout "fl" (our model file; also where it is empty) or
// "pytorch" (onnx::ExportPytorchTensors). kInvalidArgument for other words; what those functions
// refuse.
Result<Bytes> ExportModel(const nn::ModelFile& file, std::string_view format,
                          std::string_view layout);

// What a file of tensors alone does not say.
struct NetworkLines {
  std::vector<std::string> layers;  // See nn::BuildGraph; none when the file says them.
  std::string input;                // "28x28x1".
  std::string loss = "softmax_cross_entropy";
};

// A model from an ONNX file, from a model file of ours or, with a network's lines, from a
// safetensors file of PyTorch's tensors; which of them it is, the bytes say. kInvalidArgument when
// lines are missing or given for a file that has its own; the errors of onnx::ImportOnnx,
// onnx::ImportPytorchTensors, nn::BuildGraph and nn::ParseModelFile.
Result<nn::ModelFile> ImportModel(ByteSpan bytes, const NetworkLines& network);

// The lines of a file of layers: without comments (from # on) and empty lines.
std::vector<std::string> LayerLines(std::string_view text);

}  // namespace fl::model_app
