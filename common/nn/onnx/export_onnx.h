#pragma once

#include "fl/common/nn/model_file.h"
#include "fl/common/nn/onnx/onnx_model.h"

namespace fl::onnx {

// A model as an ONNX file: IR version 8, operators of version 13 (14 with hard_swish, 17 with
// layernorm), a batch of any size ("N"). The input is named "input", the output "output"
// (logits, no softmax).
//
//   Layout. fl's images are height x width x channels; the file's input and all its images are
//   N x channels x height x width, as ONNX's operators want them, and weights are transposed once,
//   here. A dense layer that reads a flattened image has its rows reordered to match, so that the
//   file holds no Transpose; where a flattened image goes elsewhere (an add, a reshape, a layer
//   norm of an image), a Transpose keeps the order of fl.
//   fp32. Gemm, Conv, MaxPool, AveragePool, ... by the rules of nn::RulesOf. `same` padding is
//   written as explicit pads. Weights made of factors are put together.
//   int8. QDQ: QuantizeLinear and DequantizeLinear after the input and after every activation, on
//   both sides of MaxPool, Flatten and the like, as uint8 (128 more than ours, zero point too:
//   that is what ONNX Runtime fuses everywhere); weights as int8 constants with a scale for each
//   output channel (axis 0), biases as int32 constants of scale input scale * weight scale. A ReLU
//   or ReLU6 right after a product shares its pair when its zero point is -128, which ONNX Runtime
//   then drops. A product that is the last node yields fp32, as in our engine. Weights whose codes
//   have fewer than 8 bits are written as the 8 bits that they stand for.
//   Labels, normalization, loss and notes travel as metadata "fl.labels", "fl.normalization",
//   "fl.loss", "fl.note.KEY". Nodes that the output does not depend on are left out.
//
// kUnsupported: a dynamic model; more than two factors of a multiply in int8, scales whose product
// is no normal number; kLimitExceeded: more than protobuf's 2 GiB; what QuantizedModel::Validate
// refuses.
Result<OnnxModel> ExportOnnx(const nn::ModelFile& file);

}  // namespace fl::onnx
