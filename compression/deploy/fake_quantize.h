#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "fl/common/base/result.h"
#include "fl/common/nn/integer_session.h"
#include "fl/common/nn/quantized_model.h"
#include "fl/common/nn/training_hook.h"

namespace fl::deploy {

// What 8 bits make of values: scale * (q - zero point), q = clamp(round_half_even(value / scale) +
// zero point) in [-128, 127], as the integer engine rounds them.
void RoundToScale(const nn::ActivationScale& scale, std::span<float> values);

// Whether the engine rounds what a node yields by the node's own scale: not where the values are
// those of its input (views, a maximum), nor the last product, which yields fp32.
bool RoundsOutput(const nn::Graph& graph, std::size_t node);

// Fake quantization: what the integer engine yields for a batch, node by node, as the fp32 values
// that a training step computes with in their place. An fp32 sum near the middle between two
// integers would be rounded to the other one now and then; these are the engine's own bits.
class EngineValues {
 public:
  // Packs the model's weights. The errors of IntegerSession::CreateObserved.
  static Result<EngineValues> Create(const nn::QuantizedModel& model, std::size_t batch_max);

  void Run(std::span<const float> input, std::size_t count);
  // In a hook's OnForward, of the batch that ran: puts the engine's values in the output's place. A
  // maximum stays as it is, that of values which were put.
  void Put(std::size_t node, std::span<float> output) const;
  std::span<const float> outputs() const { return outputs_; }

 private:
  explicit EngineValues(nn::IntegerSession session) : session_(std::move(session)) {}

  nn::IntegerSession session_;
  std::vector<float> outputs_;
};

// How far the simulation of an integer model lies from the integer engine.
struct EngineDifference {
  double lsb_max = 0;  // Largest difference of an output, in units of the last node's scale.
  double exact = 1;    // Share of the outputs that are the same to the last bit.
};

// Runs `count` samples (count x input_shape) through the engine as it serves, fused and packed, and
// through a training step with EngineValues, over the weights and biases that the integers stand
// for: the same bits, or one of the two is wrong. The errors of the sessions; kInvalidArgument
// without samples, kUnsupported for a dynamic model.
Result<EngineDifference> CompareWithEngine(const nn::QuantizedModel& model,
                                           std::span<const float> samples, std::size_t count);

}  // namespace fl::deploy
