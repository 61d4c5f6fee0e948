#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fl/benchmarks/report.h"
#include "fl/common/nn/quantized_model.h"

// The networks that the group `models` times: of the zoo, random weights, batch norms folded.
namespace fl::bench {

struct MeasuredModel {
  nn::Graph graph;
  std::vector<float> parameters;
  std::vector<float> input;    // One sample.
  nn::QuantizedModel integer;  // Ranges of activations from four samples.
  nn::QuantizedModel dynamic;
};

// Of one seed. kInvalidArgument for a name that the zoo has not.
Result<MeasuredModel> MakeMeasuredModel(std::string_view name, const RunConditions& conditions);

// Writes FOLDER/NETWORK.onnx, the int8 model, for each network whose name holds `only`. kIo.
Result<> WriteMeasuredModels(const std::string& folder, std::string_view only,
                             const RunConditions& conditions);

}  // namespace fl::bench
