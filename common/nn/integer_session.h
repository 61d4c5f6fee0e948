#pragma once

#include <memory>
#include <span>

#include "fl/common/nn/instruction_set.h"
#include "fl/common/nn/quantized_model.h"

namespace fl::nn {

namespace internal {
class DynamicPass;
class IntegerPass;
}  // namespace internal

// Runs a quantized model: fp32 in, fp32 out, integers between (of a dynamic model within its
// products). The output is the same to the last
// bit with every instruction set. Weights are packed by Create; Run allocates nothing. Thread
// safety: distinct objects safe, shared objects unsafe.
class IntegerSession {
 public:
  // The model's Validate must hold: its error is returned. kInvalidArgument when the instruction
  // set is not supported.
  static Result<IntegerSession> Create(
      const QuantizedModel& model, std::size_t batch_max,
      IntegerInstructionSet instruction_set = BestIntegerInstructionSet());
  // A session that also keeps what each node yields, for whoever computes with the engine's values
  // (fake quantization); it runs every node for itself, and slower. kUnsupported: a dynamic model.
  static Result<IntegerSession> CreateObserved(
      const QuantizedModel& model, std::size_t batch_max,
      IntegerInstructionSet instruction_set = BestIntegerInstructionSet());
  IntegerSession(IntegerSession&&) noexcept;
  IntegerSession& operator=(IntegerSession&&) noexcept;
  ~IntegerSession();

  const Graph& graph() const;
  std::size_t batch_max() const;

  // input: batch x input_shape; output: batch x output_shape; batch in [1, batch_max].
  void Run(std::span<const float> input, std::size_t batch, std::span<float> output);

  // What a node yielded in the last Run of an observed session, scale * (q - zero point): batch x
  // its shape. Not of a last dense or convolution node: that is Run's output.
  void Read(std::size_t node, std::span<float> values) const;

 private:
  explicit IntegerSession(std::unique_ptr<internal::IntegerPass> pass);
  explicit IntegerSession(std::unique_ptr<internal::DynamicPass> pass);
  std::unique_ptr<internal::IntegerPass> pass_;
  std::unique_ptr<internal::DynamicPass> dynamic_;  // In its place, of a dynamic model.
};

}  // namespace fl::nn
