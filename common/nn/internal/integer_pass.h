#pragma once

#include <memory>
#include <vector>

#include "fl/common/nn/instruction_set.h"
#include "fl/common/nn/internal/aligned_buffer.h"
#include "fl/common/nn/internal/integer_step.h"
#include "fl/common/nn/internal/memory_plan.h"

namespace fl::nn::internal {

// A quantized model compiled into steps: nodes that the output does not need are left out, views
// (flatten, reshape) cost nothing, a clamp works inside the step before it, and a pool by maximum
// of 2x2 inside its convolution. Values lie in one arena (memory_plan.h).
// Thread safety: distinct objects safe, shared objects unsafe.
class IntegerPass {
 public:
  static Result<std::unique_ptr<IntegerPass>> Create(const QuantizedModel& model,
                                                     std::size_t batch_max,
                                                     IntegerInstructionSet instruction_set);

  const Graph& graph() const { return graph_; }
  std::size_t batch_max() const { return batch_max_; }
  // Of the arena, without the weights.
  std::size_t arena_bytes() const { return arena_bytes_; }
  std::size_t steps() const { return steps_.size(); }
  void Run(const float* input, std::size_t batch, float* output);

 private:
  friend class IntegerCompiler;

  // A step with its place in the arena.
  struct PlacedStep {
    std::unique_ptr<IntegerStep> step;
    std::vector<std::size_t> values;  // That it reads; their offsets once memory is planned.
    std::vector<const std::uint8_t*> inputs;
    std::size_t value = 0;  // That it yields.
    std::size_t output = 0;
    std::size_t scratch = 0;
  };

  explicit IntegerPass(const Graph& graph, std::size_t batch_max)
      : graph_(graph), batch_max_(batch_max) {}

  Graph graph_;
  std::size_t batch_max_;
  const kernels::IntegerKernels* kernels_ = nullptr;
  ActivationScale input_;
  ActivationScale output_;
  bool yields_floats_ = false;  // The last step writes the result.
  std::vector<PlacedStep> steps_;
  std::size_t input_offset_ = 0;
  std::size_t output_offset_ = 0;
  std::size_t arena_bytes_ = 0;
  AlignedBuffer<std::uint8_t> arena_;
};

}  // namespace fl::nn::internal
