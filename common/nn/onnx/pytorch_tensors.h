#pragma once

#include "fl/common/nn/model_file.h"

namespace fl::onnx {

// A model's parameters as a safetensors file of PyTorch's (a state dict), without the network:
// convolutions outputs x inputs / groups x height x width, dense layers outputs x inputs, a dense
// layer after a flattened image for images with channels first. Names are LAYER.weight and
// LAYER.bias; of a batch norm also LAYER.running_mean and LAYER.running_var. An int8 model is
// written as the fp32 numbers that it stands for; labels, normalization and notes as metadata
// "fl.labels", "fl.normalization", "fl.note.KEY", the network's lines as "fl.input", "fl.layers".
//
// kUnsupported: a flattened image that is read by anything but value-by-value operators and dense
// layers, whose order PyTorch's would not be.
Result<Bytes> ExportPytorchTensors(const nn::ModelFile& file);

// The parameters of a network (see nn::BuildGraph) from such a file, which may be hostile. A tensor
// belongs to the layer whose name is its module's: in small letters, dots as underscores,
// "layer_" before a digit ("0.weight" is of "layer_0", "features.3.bias" of "features_3"). A bias
// that is not there is zero; "num_batches_tracked" is left out. F32, F16 and BF16.
//
// kShapeMismatch names the tensor, what was expected and what was found, or the tensors that no
// layer takes; kNotFinite; kUnsupported as above; what ParseSafetensors refuses.
Result<nn::FloatModel> ImportPytorchTensors(ByteSpan bytes, const nn::Graph& graph);

}  // namespace fl::onnx
