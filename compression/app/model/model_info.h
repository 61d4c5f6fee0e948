#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fl/common/base/bytes.h"
#include "fl/common/base/result.h"

namespace fl::model_app {

struct LayerRow {
  std::string name;
  std::string line;  // As in a plan's [model].
  std::string shape;
  std::size_t parameters = 0;
  double multiply_accumulates = 0;  // Of one sample.
};
struct TensorRow {
  std::string name;
  std::string type;  // "F32", "I8", ...
  std::string shape;
  std::uint64_t bytes = 0;
};

// What a model file holds.
struct ModelInfo {
  std::string precision;  // "fp32", "int8".
  std::string input;
  std::string loss;
  std::string normalization;
  std::vector<std::string> labels;
  std::map<std::string, std::string> notes;
  std::uint64_t file_bytes = 0;
  std::size_t parameters = 0;
  double multiply_accumulates = 0;
  std::uint64_t activation_peak = 0;  // Bytes that live at once.
  std::vector<LayerRow> layers;
  std::vector<TensorRow> tensors;
};

// The errors of nn::ParseModelFile.
Result<ModelInfo> InspectModel(ByteSpan file);

std::string DrawInfo(const ModelInfo& info);
std::string InfoToJson(const ModelInfo& info);

}  // namespace fl::model_app
