#pragma once

#include <memory>
#include <vector>

#include "fl/common/nn/instruction_set.h"
#include "fl/common/nn/internal/aligned_buffer.h"
#include "fl/common/nn/internal/image.h"
#include "fl/common/nn/kernels/integer_kernels.h"
#include "fl/common/nn/quantized_model.h"

namespace fl::nn::internal {

// A quantized model compiled into steps over two buffers of s8, its weights packed.
// Thread safety: distinct objects safe, shared objects unsafe.
class IntegerPass {
 public:
  static Result<std::unique_ptr<IntegerPass>> Create(const QuantizedModel& model,
                                                     std::size_t batch_max,
                                                     IntegerInstructionSet instruction_set);

  const Graph& graph() const { return graph_; }
  std::size_t batch_max() const { return batch_max_; }
  void Run(const float* input, std::size_t batch, float* output);

 private:
  // A dense layer is the convolution of an image of one pixel, as large as the input.
  struct Product {
    Window window;
    std::size_t segment_groups = 0;
    std::size_t panels = 0;
    AlignedBuffer<std::int8_t> weight;
    std::vector<std::int32_t> bias;  // With the zero point and the kernel's offset taken out.
    std::vector<float> multiplier;
    float low = 0;  // Clamp, before the output's zero point is added.
  };

  IntegerPass(const QuantizedModel& model, std::size_t batch_max,
              const kernels::IntegerKernels& kernels);
  Result<> Prepare(const QuantizedModel& model);
  Result<Product> PrepareProduct(const QuantizedModel& model, std::size_t i) const;
  Result<> Allocate();

  void RunNode(std::size_t i, std::size_t batch, float* output);
  void RunProduct(std::size_t i, std::size_t batch, float* output);
  void FinishRow(std::size_t i, std::size_t rows, std::int8_t* to, float* output) const;
  void RunMaxPool(std::size_t i, std::size_t batch);
  void RunAvgPool(std::size_t i, std::size_t batch);

  Graph graph_;
  std::vector<ActivationScale> scales_;
  std::size_t batch_max_;
  const kernels::IntegerKernels* kernels_;
  std::vector<Product> products_;  // One for each node.
  AlignedBuffer<std::int8_t> buffers_[2];
  std::int8_t* current_ = nullptr;  // Where the last node's output lies.
  std::int8_t* next_ = nullptr;
  AlignedBuffer<std::int8_t> padded_;
  AlignedBuffer<std::int32_t> sums_;
};

}  // namespace fl::nn::internal
