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
  enum class Mode {
    kInference,
    kObserve,  // Nothing is fused or left out, and each node's values stay until the next Run.
  };
  static Result<std::unique_ptr<IntegerPass>> Create(const QuantizedModel& model,
                                                     std::size_t batch_max,
                                                     IntegerInstructionSet instruction_set,
                                                     Mode mode = Mode::kInference);

  const Graph& graph() const { return graph_; }
  std::size_t batch_max() const { return batch_max_; }
  // Of the arena, without the weights.
  std::size_t arena_bytes() const { return arena_bytes_; }
  std::size_t steps() const { return steps_.size(); }
  void Run(const float* input, std::size_t batch, float* output);
  // Of kObserve: the first `count` values of what a node yielded, but of a last one that yields
  // fp32.
  void Read(std::size_t node, std::size_t count, float* values) const;

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

  IntegerPass(const QuantizedModel& model, std::size_t batch_max, Mode mode)
      : graph_(model.graph), scales_(model.activations), batch_max_(batch_max), mode_(mode) {}
  void Expand(std::size_t offset, const ActivationScale& scale, std::size_t count,
              float* values) const;

  Graph graph_;
  std::vector<ActivationScale> scales_;  // By node.
  std::size_t batch_max_;
  Mode mode_;
  const kernels::IntegerKernels* kernels_ = nullptr;
  bool yields_floats_ = false;  // The last step writes the result.
  std::vector<PlacedStep> steps_;
  std::vector<std::size_t> offsets_;  // By node, in the arena; of what is not fused or left out.
  std::size_t arena_bytes_ = 0;
  AlignedBuffer<std::uint8_t> arena_;
};

}  // namespace fl::nn::internal
