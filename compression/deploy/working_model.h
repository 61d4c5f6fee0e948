#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/graph.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/nn/quantized_model.h"
#include "fl/compression/deploy/round_weights.h"

namespace fl::deploy {

using RangesByNode = std::map<std::string, nn::ActivationRange>;

// The model between two passes. What a pass decides for later ones is kept by name, since a pass
// that changes the graph moves nodes and tensors but does not rename what it keeps; it drops the
// entries of what it removes, and cuts masks as it cuts the tensors.
struct WorkingModel {
  nn::Graph graph;                     // Plain: no weights made of factors.
  std::vector<float> parameters = {};  // graph.parameters.total(), in the layout's order.
  // By tensor: 1 where a value lives, 0 where it was pruned and stays zero through training.
  std::map<std::string, std::vector<std::uint8_t>> masks = {};
  // By node: how its weight is to be coded. Others are coded as the pass that rounds them is set.
  std::map<std::string, nn::WeightSpec> precision = {};
  // By node: what its output is rounded over, where training learned it. Others are observed.
  RangesByNode ranges = {};
  // By node: what its output spans over the samples of a whole federation. A pass that changes what
  // a node of that name stands for drops it. Empty where there are none.
  RangesByNode federation_ranges = {};
  // Where a pass has decided on the rounding before the model is quantized: its grids by node are
  // final, as are its values; `parameters` stay what they were, to be compared with.
  std::optional<RoundedWeights> rounded = {};
  // How the file holds weights that are not quantized; the values are already of that format.
  nn::FloatStorage storage = nn::FloatStorage::kFp32;
  std::optional<nn::QuantizedModel> quantized = {};  // What is deployed, once it is there.

  // Of the rounded weights where there are some, else `parameters`: what the model is to compute
  // with as far as the passes have come.
  std::span<const float> current_parameters() const {
    return rounded ? std::span<const float>(rounded->parameters) : parameters;
  }
};

// Zeroes what the masks remove. kShapeMismatch when a mask is not as long as its tensor, kNotFound
// when its tensor is not there: a pass has not kept masks in step.
Result<> ApplyMasks(const nn::Graph& graph,
                    const std::map<std::string, std::vector<std::uint8_t>>& masks,
                    std::span<float> parameters);

// The model file of what is deployed: the integer model where there is one, else fp32.
nn::ModelFile ToModelFile(const WorkingModel& model);

}  // namespace fl::deploy
