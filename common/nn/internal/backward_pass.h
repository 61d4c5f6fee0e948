#pragma once

#include <memory>

#include "fl/common/nn/gradient.h"
#include "fl/common/nn/internal/aligned_buffer.h"
#include "fl/common/nn/internal/forward_pass.h"

namespace fl::nn::internal {

// A forward pass that keeps each output, and the way back over it with two gradient buffers.
class BackwardPass {
 public:
  static Result<std::unique_ptr<BackwardPass>> Create(const Graph& graph, std::size_t batch_max,
                                                      InstructionSet instruction_set);

  const ForwardPass& forward() const { return *forward_; }
  std::size_t last_batch() const { return last_batch_; }
  double Compute(const float* parameters, const TrainingBatch& batch, float* gradient);

 private:
  explicit BackwardPass(std::unique_ptr<ForwardPass> forward) : forward_(std::move(forward)) {}
  Result<> Allocate();
  double Loss(const TrainingBatch& batch, std::span<float> gradient) const;

  std::unique_ptr<ForwardPass> forward_;
  std::size_t first_trained_ =
      0;  // The first node with a trained parameter; nobody needs gradients before it.
  std::size_t last_batch_ = 0;
  AlignedBuffer<float> gradients_[2];
  AlignedBuffer<float> scratch_;
};

}  // namespace fl::nn::internal
