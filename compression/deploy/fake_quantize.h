#pragma once

#include <cstddef>
#include <span>

#include "fl/common/base/result.h"
#include "fl/common/nn/quantized_model.h"
#include "fl/common/nn/training_hook.h"

namespace fl::deploy {

// What 8 bits make of values: scale * (q - zero point), q = clamp(round_half_even(value / scale) +
// zero point) in [-128, 127], as the integer engine rounds them.
void RoundToScale(const nn::ActivationScale& scale, std::span<float> values);

// Whether the engine rounds what a node yields by the node's own scale: not where the values are
// those of its input (views, a maximum), nor the last product, which yields fp32.
bool RoundsOutput(const nn::Graph& graph, std::size_t node);

// Rounds what flows forward through a TrainingStep to the scales of an integer model; the way back
// is as if nothing had been rounded. The graph's input is not shown to hooks: round it before.
class RoundingHook final : public nn::TrainingHook {
 public:
  // Both outlive this object; a scale for each node.
  RoundingHook(const nn::Graph& graph, std::span<const nn::ActivationScale> scales)
      : graph_(graph), scales_(scales) {}

  void OnForward(std::size_t node, std::span<float> output) override {
    if (RoundsOutput(graph_, node)) RoundToScale(scales_[node], output);
  }
  double OnBackward(std::size_t /*node*/, std::span<const float> /*output*/,
                    std::span<float> /*gradient*/) override {
    return 0;
  }

 private:
  const nn::Graph& graph_;
  std::span<const nn::ActivationScale> scales_;
};

// How far the simulation of an integer model in fp32 lies from the integer engine.
struct EngineDifference {
  double lsb_max = 0;  // Largest difference of an output, in units of the last node's scale.
  double exact = 1;    // Share of the outputs that are the same to the last bit.
};

// Runs `count` samples (count x input_shape) through the engine and through fake quantization: the
// weights and biases that the integers stand for, every output rounded to its node's scale. Both
// compute the same sums, the engine exactly and the simulation in fp32: where a sum lies so near to
// the middle between two integers that this decides, an inner value differs by one unit. The errors
// of the sessions; kInvalidArgument without samples, kUnsupported for a dynamic model.
Result<EngineDifference> CompareWithEngine(const nn::QuantizedModel& model,
                                           std::span<const float> samples, std::size_t count);

}  // namespace fl::deploy
