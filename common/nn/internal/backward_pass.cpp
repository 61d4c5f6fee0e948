#include "fl/common/nn/internal/backward_pass.h"

#include <algorithm>
#include <utility>

#include "fl/common/nn/internal/backward.h"

namespace fl::nn::internal {

Result<std::unique_ptr<BackwardPass>> BackwardPass::Create(const Graph& graph,
                                                           std::size_t batch_max,
                                                           InstructionSet instruction_set) {
  FL_TRY(std::unique_ptr<ForwardPass> forward,
         ForwardPass::Create(graph, batch_max, instruction_set, ForwardPass::Keep::kAll));
  std::unique_ptr<BackwardPass> pass(new BackwardPass(std::move(forward)));
  FL_TRY_OK(pass->Allocate());
  return pass;
}

Result<> BackwardPass::Allocate() {
  const Graph& graph = forward_->graph();
  const std::size_t batch_max = forward_->batch_max();
  std::size_t largest = 0;
  std::size_t scratch = 0;
  first_trained_ = graph.nodes.size();
  for (std::size_t i = graph.nodes.size(); i-- > 1;) {
    const Node& node = graph.nodes[i];
    const bool trained = !std::ranges::all_of(node.parameters, [&graph](std::size_t tensor) {
      return std::ranges::binary_search(graph.frozen, tensor);
    });
    if (trained) first_trained_ = i;
    largest = std::max(largest, node.shape.count() * batch_max);
    const BackwardRules* rules = FindBackward(node.kind);
    if (rules->scratch_floats != nullptr) {
      scratch =
          std::max(scratch, rules->scratch_floats(graph, node, batch_max, forward_->kernels()));
    }
  }
  for (AlignedBuffer<float>& buffer : gradients_) {
    FL_TRY(buffer, AlignedBuffer<float>::Allocate(largest));
  }
  FL_TRY(scratch_, AlignedBuffer<float>::Allocate(scratch));
  return {};
}

double BackwardPass::Loss(const TrainingBatch& batch, std::span<float> gradient) const {
  const Graph& graph = forward_->graph();
  const std::span<const float> outputs(forward_->output(graph.nodes.size() - 1), gradient.size());
  if (!batch.teacher_logits.empty()) {
    return DistillationLoss(outputs, batch.teacher_logits, graph.output_shape().count(),
                            batch.labels, batch.distillation, gradient);
  }
  if (graph.loss == LossKind::kMeanSquaredError)
    return MeanSquaredError(outputs, batch.targets, gradient);
  FL_CHECK(batch.labels.size() == batch.count, "one label for each sample");
  return SoftmaxCrossEntropy(outputs, batch.labels, gradient);
}

double BackwardPass::Compute(const float* parameters, const TrainingBatch& batch, float* gradient) {
  const Graph& graph = forward_->graph();
  forward_->Run(parameters, batch.input.data(), batch.count);
  last_batch_ = batch.count;
  float* current = gradients_[0].data();
  float* other = gradients_[1].data();
  const double loss = Loss(batch, {current, batch.count * graph.output_shape().count()});
  for (std::size_t i = graph.nodes.size(); i-- > first_trained_;) {
    const Node& node = graph.nodes[i];
    const BackwardRules* rules = FindBackward(node.kind);
    if (rules->run == nullptr) continue;
    float* input_gradient = i > first_trained_ ? other : nullptr;
    rules->run({graph, node, forward_->kernels(), parameters, forward_->output(node.inputs[0]),
                forward_->output(i), current, input_gradient, gradient, batch.count,
                scratch_.data()});
    if (!rules->in_place) std::swap(current, other);
  }
  return loss;
}

}  // namespace fl::nn::internal
