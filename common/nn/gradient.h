#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "fl/common/nn/graph.h"
#include "fl/common/nn/instruction_set.h"
#include "fl/common/nn/loss.h"
#include "fl/common/nn/training_hook.h"

namespace fl::nn {

namespace internal {
class BackwardPass;
class FactorPass;
}  // namespace internal

// What a step learns from. `labels` or `targets` as the graph's loss asks; with teacher logits the
// loss is DistillationLoss (labels may then be empty).
struct TrainingBatch {
  std::size_t count = 0;                  // Samples, in [1, batch_max].
  std::span<const float> input;           // count x input_shape.
  std::span<const std::int32_t> labels;   // count, each in [0, classes).
  std::span<const float> targets;         // count x output_shape, for mean squared error.
  std::span<const float> teacher_logits;  // count x output_shape, or empty.
  Distillation distillation;              // Used with teacher logits.
  // Sees and changes inner values and gradients, and adds losses of its own; null: none. With a
  // hook labels, targets and teacher logits may all be empty: then its losses are the only ones.
  TrainingHook* hook = nullptr;
  // Batch norms use their running statistics, as in inference, instead of the batch's own.
  bool running_statistics = false;
  // Receives the loss's gradient with respect to the input; empty: not wanted.
  std::span<float> input_gradient = {};
};

struct TrainingOptions {
  InstructionSet instruction_set = BestInstructionSet();
  bool input_gradient = false;  // TrainingBatch::input_gradient may be used.
};

// Forward and backward pass of one batch. Weights made of factors are put together once and their
// gradient flows back to the factors. All memory is allocated by Create; Compute allocates
// nothing. Deterministic for one instruction set. Thread safety: distinct objects safe, shared
// objects unsafe.
class TrainingStep {
 public:
  // Errors as Session::Create.
  static Result<TrainingStep> Create(const Graph& graph, std::size_t batch_max,
                                     InstructionSet instruction_set = BestInstructionSet()) {
    return Create(graph, batch_max, TrainingOptions{instruction_set});
  }
  static Result<TrainingStep> Create(const Graph& graph, std::size_t batch_max,
                                     const TrainingOptions& options);
  TrainingStep(TrainingStep&&) noexcept;
  TrainingStep& operator=(TrainingStep&&) noexcept;
  ~TrainingStep();

  const Graph& graph() const;
  std::size_t batch_max() const;
  InstructionSet instruction_set() const;

  // The mean loss, and its gradient with respect to each parameter (graph.parameters.total()
  // values, all overwritten); zero for frozen ones and for statistics.
  double Compute(std::span<const float> parameters, const TrainingBatch& batch,
                 std::span<float> gradient);

  // Moves the running means and variances of batch norms a tenth of the way to those that the last
  // Compute measured (variances of n values with n - 1, as PyTorch does). Call it after the
  // optimizer's step; it does nothing after running_statistics.
  void UpdateStatistics(std::span<float> parameters) const;

  // Of the last Compute: count x output_shape.
  std::span<const float> outputs() const;

 private:
  TrainingStep(std::unique_ptr<internal::FactorPass> factors,
               std::unique_ptr<internal::BackwardPass> pass);
  std::unique_ptr<internal::FactorPass> factors_;  // Null where the graph is plain.
  std::unique_ptr<internal::BackwardPass> pass_;   // Of the plain graph.
};

}  // namespace fl::nn
