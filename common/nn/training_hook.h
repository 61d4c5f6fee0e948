#pragma once

#include <cstddef>
#include <span>

namespace fl::nn {

// Sees and changes what flows through a training step: fake quantization, hints to inner layers,
// losses of further heads. `node` is an index of the graph's nodes. Where several nodes share their
// memory (a ReLU on the product before it), the value belongs to the last of them; flatten, reshape
// and the graph's input are not shown.
class TrainingHook {
 public:
  virtual ~TrainingHook() = default;

  // A node's output is complete: batch x its shape. It may be changed, not that of a maximum pool.
  virtual void OnForward(std::size_t node, std::span<float> output) = 0;

  // The loss's gradient with respect to that output is complete, of zeros where nothing reads it;
  // the node's own way back follows. Returns what the hook adds to the loss.
  virtual double OnBackward(std::size_t node, std::span<const float> output,
                            std::span<float> gradient) = 0;

 protected:
  TrainingHook() = default;
  TrainingHook(const TrainingHook&) = default;
  TrainingHook& operator=(const TrainingHook&) = default;
};

}  // namespace fl::nn
