#pragma once

#include <span>
#include <string>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/graph.h"
#include "fl/common/nn/quantized_model.h"

namespace fl::deploy {

// How far a node's output in the integer model lies from fp32.
struct LayerNoise {
  std::string node;
  double signal_to_noise_db = 0;  // 10 log10(sum x^2 / sum (x - q)^2); at most 200.
};

// Signal to quantization noise after every node, over `count` samples (count x input_shape), so
// that one sees where error builds up. The integer model is played in fp32: its weights as the
// integers stand for them, each output rounded to the node's scale, as the engine does but for the
// last bit of fp32 sums. Nodes of one name in both are compared; those that share memory with the
// next one, flatten and reshape are left out. Nothing without samples and of a dynamic model, whose
// nodes have no scales. The errors of nn::TrainingStep::Create.
Result<std::vector<LayerNoise>> MeasureLayerNoise(const nn::Graph& graph,
                                                  std::span<const float> parameters,
                                                  const nn::QuantizedModel& quantized,
                                                  std::span<const float> samples,
                                                  std::size_t count);

}  // namespace fl::deploy
