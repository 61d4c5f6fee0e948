#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "fl/common/nn/internal/image.h"
#include "fl/common/nn/kernels/integer_kernels.h"
#include "fl/common/nn/quantized_model.h"

namespace fl::nn::internal {

// What a product's inputs are in one run alone, of a dynamic model.
struct InputOfRun {
  float scale = 1;
  std::int32_t zero_point = 0;  // As kernels take it.
};

// Where a step reads and writes in a run; bytes as integer_kernels.h says.
struct StepRun {
  std::span<const std::uint8_t* const> inputs;
  std::uint8_t* output = nullptr;
  float* result = nullptr;  // Of a step that yields fp32.
  std::uint8_t* scratch = nullptr;
  std::size_t batch = 0;
  const InputOfRun* input = nullptr;  // Null: as the model says.
  bool relu = false;                  // What is less than 0 becomes 0, of fp32.
};

// One operation of a compiled integer model: an operator with what was fused into it.
class IntegerStep {
 public:
  virtual ~IntegerStep() = default;
  // Needed while it runs.
  virtual std::size_t scratch_bytes() const { return 0; }
  virtual void Run(const StepRun& run) const = 0;
};

// What a step is made from.
struct StepSource {
  const QuantizedModel& model;
  const kernels::IntegerKernels& kernels;
  std::size_t node = 0;        // That it computes.
  bool pooled = false;         // A product takes the maximum of 2x2 outputs.
  bool yields_floats = false;  // A product or a depthwise convolution writes fp32.
  float low = 0;               // The clamp, in units of the output, before the zero point is added.
  float high = 0;
  std::size_t batch_max = 1;

  const Node& at() const { return model.graph.nodes[node]; }
  const ActivationScale& input(std::size_t i = 0) const {
    return model.activations[at().inputs[i]];
  }
  const ActivationScale& output() const { return model.activations[node]; }
  // Zero points as kernels take them.
  std::int32_t input_zero(std::size_t i = 0) const { return input(i).zero_point + kernels.offset; }
  std::int32_t output_zero() const { return output().zero_point + kernels.offset; }
  std::uint8_t Stored(std::int32_t value) const {
    return static_cast<std::uint8_t>(value + kernels.offset);
  }
};

using StepResult = Result<std::unique_ptr<IntegerStep>>;

// Dense and convolution (integer_product.cpp), depthwise (integer_depthwise.cpp).
StepResult MakeProductStep(const StepSource& source);
StepResult MakeDepthwiseStep(const StepSource& source);
// Pools by maximum and average, clamps (integer_layers.cpp).
std::unique_ptr<IntegerStep> MakeMaxPoolStep(const StepSource& source);
std::unique_ptr<IntegerStep> MakeAvgPoolStep(const StepSource& source);
std::unique_ptr<IntegerStep> MakeClampStep(const StepSource& source);
// Sums, products, concatenations, functions by table, layer norm (integer_elementwise.cpp).
std::unique_ptr<IntegerStep> MakeCombineStep(const StepSource& source);
std::unique_ptr<IntegerStep> MakeConcatStep(const StepSource& source);
std::unique_ptr<IntegerStep> MakeTableStep(const StepSource& source);
std::unique_ptr<IntegerStep> MakeLayerNormStep(const StepSource& source);

// Copies `channels` channels from `first` on of an image to where `value` surrounds it; `padded`
// has window.padded().height x width x channels bytes.
struct ChannelSlice {
  std::size_t first = 0;
  std::size_t channels = 0;
};
void PadBytes(const Window& window, const ChannelSlice& slice, const std::uint8_t* image,
              std::uint8_t value, std::uint8_t* padded);

}  // namespace fl::nn::internal
