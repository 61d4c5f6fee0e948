#pragma once

#include <memory>
#include <span>

#include "fl/common/nn/graph.h"
#include "fl/common/nn/instruction_set.h"

namespace fl::nn {

namespace internal {
class FactorPass;
class ForwardPass;
}  // namespace internal

// Runs a graph in fp32; weights made of factors are put together at the begin of each Run. All
// memory is allocated by Create; Run allocates nothing. Rows of a batch do not influence each
// other, and the results of one instruction set are the same from run to run. Thread safety:
// distinct objects safe, shared objects unsafe.
class Session {
 public:
  // batch_max >= 1: the most samples in one Run. kInvalidArgument when the instruction set is not a
  // supported one or the workspace would exceed 2^40 bytes.
  static Result<Session> Create(const Graph& graph, std::size_t batch_max,
                                InstructionSet instruction_set = BestInstructionSet());
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  const Graph& graph() const;
  std::size_t batch_max() const;
  // Of the values between layers and the kernels' scratch, without the parameters.
  std::size_t memory_bytes() const;

  // parameters: graph.parameters.total() values; input: batch x input_shape; output: batch x
  // output_shape (logits, no softmax); batch in [1, batch_max].
  void Run(std::span<const float> parameters, std::span<const float> input, std::size_t batch,
           std::span<float> output);

 private:
  Session(std::unique_ptr<internal::FactorPass> factors,
          std::unique_ptr<internal::ForwardPass> pass);
  std::unique_ptr<internal::FactorPass> factors_;  // Null where the graph is plain.
  std::unique_ptr<internal::ForwardPass> pass_;    // Of the plain graph.
};

}  // namespace fl::nn
