#pragma once

#include <memory>
#include <vector>

#include "fl/common/nn/instruction_set.h"
#include "fl/common/nn/internal/aligned_buffer.h"
#include "fl/common/nn/internal/forward_pass.h"
#include "fl/common/nn/internal/integer_step.h"

namespace fl::nn::internal {

// A dynamic model (QuantizedModel::dynamic) at work: a forward pass in fp32 whose products are
// computed by the integer kernels, each sample's input rounded over its own range. All else runs by
// the generic kernels whatever the instruction set, so that the bits are the same.
// Thread safety: distinct objects safe, shared objects unsafe.
class DynamicPass final : private ProductSteps {
 public:
  static Result<std::unique_ptr<DynamicPass>> Create(const QuantizedModel& model,
                                                     std::size_t batch_max,
                                                     IntegerInstructionSet instruction_set);

  const Graph& graph() const { return graph_; }
  std::size_t batch_max() const { return floats_->batch_max(); }
  void Run(const float* input, std::size_t batch, float* output);

 private:
  struct Product {
    std::unique_ptr<IntegerStep> step;  // Null: the node is no product.
    std::size_t inputs = 0;             // Values of a sample.
    std::size_t outputs = 0;
  };

  DynamicPass(const Graph& graph, const kernels::IntegerKernels& kernels)
      : graph_(graph), kernels_(&kernels), products_(graph.nodes.size()) {}
  Result<> AddProducts(const QuantizedModel& model);
  Result<> AddFloats(const QuantizedModel& model, std::size_t batch_max);
  void RunProduct(const ProductCall& call) override;

  Graph graph_;
  const kernels::IntegerKernels* kernels_;
  std::vector<Product> products_;  // By node.
  std::vector<float> norms_;       // Of the layer norms, the only parameters in fp32.
  std::unique_ptr<ForwardPass> floats_;
  AlignedBuffer<std::uint8_t> input_;  // Of one product and sample.
  AlignedBuffer<std::uint8_t> scratch_;
};

}  // namespace fl::nn::internal
