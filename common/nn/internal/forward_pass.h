#pragma once

#include <memory>
#include <vector>

#include "fl/common/nn/graph.h"
#include "fl/common/nn/instruction_set.h"
#include "fl/common/nn/internal/aligned_buffer.h"
#include "fl/common/nn/internal/forward.h"

namespace fl::nn::internal {

// A graph compiled into steps over buffers: a ReLU after a product is part of the product, another
// ReLU works in place, and flatten is its input. Thread safety: distinct objects safe, shared
// objects unsafe.
class ForwardPass {
 public:
  // kAll keeps each node's output until the next Run (training, calibration); kLast shares two
  // buffers.
  enum class Keep { kAll, kLast };
  static Result<std::unique_ptr<ForwardPass>> Create(const Graph& graph, std::size_t batch_max,
                                                     InstructionSet instruction_set, Keep keep);

  const Graph& graph() const { return graph_; }
  std::size_t batch_max() const { return batch_max_; }
  InstructionSet instruction_set() const { return instruction_set_; }
  const kernels::FloatKernels& kernels() const { return *kernels_; }

  // `input` must live until the outputs are no longer read.
  void Run(const float* parameters, const float* input, std::size_t batch);
  // A node's output after Run (of the last node alone with kLast). With kAll a product whose ReLU
  // is part of it yields the ReLU's output.
  const float* output(std::size_t node) const { return values_[node]; }

 private:
  struct Step {
    const ForwardRules* rules;
    std::size_t node;
    bool relu;
  };
  ForwardPass(const Graph& graph, std::size_t batch_max, InstructionSet instruction_set);
  // Finds the steps and each node's place in the buffer; returns the buffer's length.
  std::size_t Plan(Keep keep);
  Result<> Allocate(Keep keep);

  static constexpr std::size_t kExternal = static_cast<std::size_t>(-1);  // The caller's input.

  Graph graph_;
  std::size_t batch_max_;
  InstructionSet instruction_set_;
  const kernels::FloatKernels* kernels_;
  std::vector<Step> steps_;
  std::vector<std::size_t> places_;   // One for each node: offset in the buffer, or kExternal.
  std::vector<const float*> values_;  // One for each node, after Run.
  AlignedBuffer<float> buffer_;
  AlignedBuffer<float> scratch_;
};

}  // namespace fl::nn::internal
