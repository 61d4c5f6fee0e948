#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/calibrate.h"
#include "fl/common/nn/model_file.h"
#include "fl/common/nn/visit_outputs.h"

namespace fl::deploy {

// One product alone (dense, conv, depthwise with weight and bias), as a model whose input is that
// node's input and whose loss is the squared error of its output. Parameters: weight, bias.
nn::FloatModel LayerModelOf(const nn::Graph& graph, std::size_t node,
                            std::span<const float> parameters);

// What enters a product, with the activations before it as the weights `parameters` make them,
// rounded to 8 bits over `range` where one is given. Samples one after the other.
Result<std::vector<float>> LayerInputOf(const nn::Graph& graph, std::span<const float> parameters,
                                        const nn::SampleValues& samples, std::size_t node,
                                        const nn::ActivationRange* range);

// All outputs of a layer's model on such inputs.
Result<std::vector<float>> LayerOutputOf(const nn::FloatModel& layer,
                                         const nn::SampleValues& inputs);

// The values that 8 bits make of activations: scale * (q - zero point), as the integer engine
// rounds them.
void RoundActivations(const nn::ActivationRange& range, std::span<float> values);

}  // namespace fl::deploy
