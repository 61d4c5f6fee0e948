#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "fl/common/nn/graph.h"
#include "fl/common/nn/instruction_set.h"
#include "fl/common/nn/loss.h"

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
};

// Forward and backward pass of one batch. Weights made of factors are put together once and their
// gradient flows back to the factors. All memory is allocated by Create; Compute allocates
// nothing. Deterministic for one instruction set. Thread safety: distinct objects safe, shared
// objects unsafe.
class TrainingStep {
 public:
  // Errors as Session::Create.
  static Result<TrainingStep> Create(const Graph& graph, std::size_t batch_max,
                                     InstructionSet instruction_set = BestInstructionSet());
  TrainingStep(TrainingStep&&) noexcept;
  TrainingStep& operator=(TrainingStep&&) noexcept;
  ~TrainingStep();

  const Graph& graph() const;
  std::size_t batch_max() const;
  InstructionSet instruction_set() const;

  // The mean loss, and its gradient with respect to each parameter (graph.parameters.total()
  // values, all overwritten); zero for frozen ones.
  double Compute(std::span<const float> parameters, const TrainingBatch& batch,
                 std::span<float> gradient);

  // Of the last Compute: count x output_shape.
  std::span<const float> outputs() const;

 private:
  TrainingStep(std::unique_ptr<internal::FactorPass> factors,
               std::unique_ptr<internal::BackwardPass> pass);
  std::unique_ptr<internal::FactorPass> factors_;  // Null where the graph is plain.
  std::unique_ptr<internal::BackwardPass> pass_;   // Of the plain graph.
};

}  // namespace fl::nn
