#pragma once

#include <memory>
#include <vector>

#include "fl/common/nn/gradient.h"
#include "fl/common/nn/internal/aligned_buffer.h"
#include "fl/common/nn/internal/backward.h"
#include "fl/common/nn/internal/forward_pass.h"

namespace fl::nn::internal {

// A forward pass that keeps each output, and the way back over it. A gradient's memory lives from
// its first reader's way back to its own node's; views and functions of one value share it.
class BackwardPass {
 public:
  // `input_gradient`: that of the graph's input is computed too.
  static Result<std::unique_ptr<BackwardPass>> Create(const Graph& graph, std::size_t batch_max,
                                                      InstructionSet instruction_set,
                                                      bool input_gradient);

  const ForwardPass& forward() const { return *forward_; }
  std::size_t last_batch() const { return last_batch_; }
  // Whether the last Compute measured the statistics of its batch.
  bool measured() const { return measured_; }
  double Compute(const float* parameters, const TrainingBatch& batch, float* gradient);

 private:
  explicit BackwardPass(std::unique_ptr<ForwardPass> forward) : forward_(std::move(forward)) {}
  void Plan(bool input_gradient);
  std::size_t PlaceGradients();
  Result<> Allocate();
  double Loss(const TrainingBatch& batch);
  bool HasLoss(const TrainingBatch& batch) const;
  double RunNode(std::size_t i, const float* parameters, const TrainingBatch& batch,
                 float* gradient);
  void Hand(std::size_t input, const float* from, std::size_t count);
  float* GradientAt(std::size_t node) { return gradients_.data() + places_[owners_[node]]; }

  std::unique_ptr<ForwardPass> forward_;
  std::vector<bool> wanted_;          // Nodes whose gradient somebody needs.
  std::vector<std::size_t> readers_;  // How many wanted nodes' operands each node is.
  std::vector<std::size_t> owners_;   // The node whose gradient's memory a node shares.
  std::vector<std::size_t> places_;   // Of the owners.
  std::vector<bool> written_;         // In this Compute.
  std::vector<const float*> operands_;
  std::size_t last_batch_ = 0;
  bool measured_ = false;
  AlignedBuffer<float> gradients_;
  AlignedBuffer<float> part_;  // One reader's share of a gradient that several add to.
  AlignedBuffer<float> scratch_;
};

}  // namespace fl::nn::internal
