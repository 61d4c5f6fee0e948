#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/graph.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/nn/quantized_model.h"

namespace fl::deploy {

// How the weights of one node are to be rounded; mixed precision writes it, quantization obeys.
struct NodePrecision {
  unsigned weight_bits = 8;  // In [2, 8].
  std::size_t group = 0;     // Weights that share a multiplier; 0: an output channel's.
  bool asymmetric = false;   // Codes have a zero of their own.
  friend bool operator==(const NodePrecision&, const NodePrecision&) = default;
};

// The model between two passes. What a pass decides for later ones is kept by name, since a pass
// that changes the graph moves nodes and tensors but does not rename what it keeps; it drops the
// entries of what it removes, and cuts masks as it cuts the tensors.
struct WorkingModel {
  nn::Graph graph;                     // Plain: no weights made of factors.
  std::vector<float> parameters = {};  // graph.parameters.total(), in the layout's order.
  // By tensor: 1 where a value lives, 0 where it was pruned and stays zero through training.
  std::map<std::string, std::vector<std::uint8_t>> masks = {};
  std::map<std::string, NodePrecision> precision = {};  // By node; none: 8 bits for each channel.
  std::map<std::string, nn::ActivationRange> ranges =
      {};                                            // By node: learned or observed; may be empty.
  std::optional<nn::QuantizedModel> quantized = {};  // What is deployed, once it is there.
};

// Zeroes what the masks remove. kShapeMismatch when a mask is not as long as its tensor, kNotFound
// when its tensor is not there: a pass has not kept masks in step.
Result<> ApplyMasks(const nn::Graph& graph,
                    const std::map<std::string, std::vector<std::uint8_t>>& masks,
                    std::span<float> parameters);

// The model file of what is deployed: the integer model where there is one, else fp32.
nn::ModelFile ToModelFile(const WorkingModel& model);

}  // namespace fl::deploy
