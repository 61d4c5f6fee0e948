#pragma once

#include <string>

#include "fl/common/nn/model_file.h"
#include "fl/common/nn/onnx/onnx_model.h"

namespace fl::onnx {

struct ImportLimits {
  OnnxLimits file;
  nn::GraphLimits graph;
};

// A model from an ONNX file that may be hostile: one that fl, PyTorch or ONNX Runtime's
// quantization wrote. The file has one input of float, N x channels x height x width or N x
// features, and one output; the imported model's images are height x width x channels, its weights
// transposed to match, and the rows of a dense layer after a flattened image reordered.
//
//   Operators: those of SupportedOperators, for images in the order above (between two Transposes:
//   channels last), a batch as the first extent, weights and shapes as constants. A MatMul and the
//   Add of a constant after it are one dense layer; a strided convolution with symmetric pads gets
//   a kernel with zeros around, so that it is `same`.
//   fp32: weights of float, double, float16, bfloat16, or of integers behind DequantizeLinear.
//   int8 (QDQ): a file whose activations go through QuantizeLinear and DequantizeLinear; int8 or
//   uint8, one scale a tensor; weights int8 with zero point 0, one scale a tensor or an output
//   channel. Bits are kept; a weight of -128 becomes -127, and the note "onnx.clamped" says how
//   many did.
//   Metadata "fl.labels", "fl.normalization", "fl.loss" and "fl.note.KEY" as ExportOnnx writes it.
//   Without "fl.loss" a flat output of two or more values is one of softmax_cross_entropy.
//
// kUnsupported: an operator that is not in the list (the message names it and lists the supported
// ones), or a setting that fl does not have; kMalformed: a value that no earlier operator makes (a
// dangling name, a cycle) or that two make, scales that are not positive, wrong counts;
// kShapeMismatch, kNotFinite, kLimitExceeded. The errors name the operator, what was expected and
// what was found.
Result<nn::ModelFile> ImportOnnx(ByteSpan bytes, const ImportLimits& limits = {});

// The operators of ONNX that ImportOnnx reads, "Add, AveragePool, ...".
std::string SupportedOperators();

}  // namespace fl::onnx
