#include "fl/common/nn/internal/dynamic_pass.h"

#include <algorithm>
#include <limits>

#include "fl/common/base/check.h"
#include "fl/common/nn/internal/pass_arguments.h"
#include "fl/common/nn/kernels/select.h"
#include "fl/common/nn/weight_grid.h"

namespace fl::nn::internal {
namespace {

// The model as the integer compiler takes it: scales of 1, for which each run puts its own, and no
// biases, which are added in fp32.
QuantizedModel WithUnitScales(const QuantizedModel& model) {
  QuantizedModel placed = model;
  placed.activations.assign(model.graph.nodes.size(), {.scale = 1, .zero_point = 0});
  for (std::size_t i = 0; i < placed.nodes.size(); ++i) {
    placed.nodes[i].bias.assign(placed.nodes[i].weight_scale.size(), 0);
  }
  return placed;
}

// The graph with layer norms' parameters only.
Graph WithoutWeights(const Graph& graph) {
  Graph stripped = graph;
  stripped.frozen.clear();
  stripped.statistics.clear();
  std::vector<TensorSpec> specs;
  for (Node& node : stripped.nodes) {
    const std::vector<std::size_t> tensors = std::move(node.parameters);
    node.parameters.clear();
    if (HasWeight(node)) continue;
    for (const std::size_t tensor : tensors) {
      node.parameters.push_back(specs.size());
      specs.push_back(graph.parameters[tensor]);
    }
  }
  stripped.parameters = TensorLayout(std::move(specs));
  return stripped;
}

// Infinity counts as the largest float.
ActivationRange RangeOf(const kernels::IntegerKernels& kernels, const float* values,
                        std::size_t count) {
  ActivationRange range;
  kernels.range(values, count, &range.low, &range.high);
  constexpr float kMost = std::numeric_limits<float>::max();
  return {std::max(range.low, -kMost), std::min(range.high, kMost)};
}

}  // namespace

Result<std::unique_ptr<DynamicPass>> DynamicPass::Create(const QuantizedModel& model,
                                                         std::size_t batch_max,
                                                         IntegerInstructionSet instruction_set) {
  FL_TRY_OK(model.Validate());
  FL_TRY_OK(ExpectSupported(instruction_set, SupportedIntegerInstructionSets()));
  FL_TRY_OK(ExpectBatchMax(batch_max));
  std::unique_ptr<DynamicPass> pass(
      new DynamicPass(model.graph, kernels::IntegerKernelsFor(instruction_set)));
  FL_TRY_OK(pass->AddProducts(WithUnitScales(model)));
  FL_TRY_OK(pass->AddFloats(model, batch_max));
  return pass;
}

Result<> DynamicPass::AddProducts(const QuantizedModel& model) {
  std::size_t input_bytes = 0;
  std::size_t scratch_bytes = 0;
  for (std::size_t i = 1; i < model.graph.nodes.size(); ++i) {
    const Node& node = model.graph.nodes[i];
    if (!HasWeight(node)) continue;
    Product& product = products_[i];
    const StepSource source = {
        .model = model, .kernels = *kernels_, .node = i, .yields_floats = true, .batch_max = 1};
    FL_TRY(product.step,
           node.kind == OpKind::kDepthwise ? MakeDepthwiseStep(source) : MakeProductStep(source));
    product.inputs = model.graph.nodes[node.inputs[0]].shape.count();
    product.outputs = node.shape.count();
    input_bytes = std::max(input_bytes, product.inputs + kernels::kIntegerSlack);
    scratch_bytes = std::max(scratch_bytes, product.step->scratch_bytes());
  }
  FL_TRY(input_, AlignedBuffer<std::uint8_t>::Allocate(input_bytes));
  FL_TRY(scratch_, AlignedBuffer<std::uint8_t>::Allocate(scratch_bytes));
  return {};
}

Result<> DynamicPass::AddFloats(const QuantizedModel& model, std::size_t batch_max) {
  for (const QuantizedNode& node : model.nodes) {
    norms_.insert(norms_.end(), node.gamma.begin(), node.gamma.end());
    norms_.insert(norms_.end(), node.beta.begin(), node.beta.end());
  }
  FL_TRY(floats_,
         ForwardPass::Create(WithoutWeights(model.graph), batch_max, InstructionSet::kGeneric,
                             ForwardPass::Mode::kInference, this));
  return {};
}

void DynamicPass::RunProduct(const ProductCall& call) {
  const Product& product = products_[call.node];
  const std::uint8_t* const inputs[] = {input_.data()};
  for (std::size_t i = 0; i < call.batch; ++i) {
    const float* from = call.input + i * product.inputs;
    float* to = call.output + i * product.outputs;
    const ActivationScale scale = ScaleOf(RangeOf(*kernels_, from, product.inputs));
    const InputOfRun input = {scale.scale, scale.zero_point + kernels_->offset};
    kernels_->quantize(from, product.inputs, input.scale, input.zero_point, input_.data());
    product.step->Run({.inputs = inputs,
                       .result = to,
                       .scratch = scratch_.data(),
                       .batch = 1,
                       .input = &input,
                       .relu = call.relu});
  }
}

void DynamicPass::Run(const float* input, std::size_t batch, float* output) {
  floats_->Run(norms_.data(), input, batch);
  std::copy_n(floats_->output(graph_.nodes.size() - 1), batch * graph_.output_shape().count(),
              output);
}

}  // namespace fl::nn::internal
