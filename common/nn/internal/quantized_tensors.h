#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fl/common/nn/quantized_model.h"
#include "fl/common/tensor/safetensors.h"

// The tensors of integer models in a model file (model_file.h), and what both kinds of model share.
namespace fl::nn::internal {

Error MalformedFile(std::string message);

std::string JoinLines(std::span<const std::string> lines);
std::vector<std::string> SplitLines(std::string_view text);

StoredTensor StoreValues(std::string name, DType dtype, Shape shape, ByteSpan values);

// The model of a file whose graph is known; `dynamic`: without activation scales. kMalformed or
// kShapeMismatch say which tensor or line of the metadata is not as it should be; the errors of
// QuantizedModel::Validate.
Result<QuantizedModel> ReadQuantized(const SafetensorsFile& file, const Graph& graph, bool dynamic);

// Adds the model's tensors, and the metadata that says how they are coded.
void AppendQuantized(const QuantizedModel& model, SafetensorsFile& file);

}  // namespace fl::nn::internal
