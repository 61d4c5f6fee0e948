#include "fl/common/nn/gradient.h"

#include <algorithm>

#include "fl/common/nn/internal/backward_pass.h"
#include "fl/common/nn/internal/factor_pass.h"

namespace fl::nn {

using internal::BackwardPass;
using internal::FactorPass;

TrainingStep::TrainingStep(std::unique_ptr<FactorPass> factors, std::unique_ptr<BackwardPass> pass)
    : factors_(std::move(factors)), pass_(std::move(pass)) {}
TrainingStep::TrainingStep(TrainingStep&&) noexcept = default;
TrainingStep& TrainingStep::operator=(TrainingStep&&) noexcept = default;
TrainingStep::~TrainingStep() = default;

Result<TrainingStep> TrainingStep::Create(const Graph& graph, std::size_t batch_max,
                                          const TrainingOptions& options) {
  FL_TRY(std::unique_ptr<FactorPass> factors, FactorPass::Create(graph, options.instruction_set));
  const Graph& plain = factors != nullptr ? factors->plain() : graph;
  FL_TRY(std::unique_ptr<BackwardPass> pass,
         BackwardPass::Create(plain, batch_max, options.instruction_set, options.input_gradient));
  return TrainingStep(std::move(factors), std::move(pass));
}

const Graph& TrainingStep::graph() const {
  return factors_ != nullptr ? factors_->graph() : pass_->forward().graph();
}
std::size_t TrainingStep::batch_max() const {
  return pass_->forward().batch_max();
}
InstructionSet TrainingStep::instruction_set() const {
  return pass_->forward().instruction_set();
}

double TrainingStep::Compute(std::span<const float> parameters, const TrainingBatch& batch,
                             std::span<float> gradient) {
  FL_CHECK(parameters.size() == graph().parameters.total(),
           "as many parameters as the graph's layout");
  FL_CHECK(gradient.size() == parameters.size(), "a gradient for each parameter");
  FL_CHECK(batch.input.size() == batch.count * graph().input_shape().count(),
           "input is count x input shape");
  double loss = 0;
  if (factors_ == nullptr) {
    loss = pass_->Compute(parameters.data(), batch, gradient.data());
  } else {
    const float* plain = factors_->Materialize(parameters.data());
    loss = pass_->Compute(plain, batch, factors_->plain_gradient());
    factors_->Backward(parameters.data(), gradient.data());
  }
  const TensorLayout& layout = graph().parameters;
  for (const auto* tensors : {&graph().frozen, &graph().statistics}) {
    for (const std::size_t tensor : *tensors)
      std::ranges::fill(gradient.subspan(layout.offset(tensor), layout[tensor].shape.count()),
                        0.0F);
  }
  return loss;
}

void TrainingStep::UpdateStatistics(std::span<float> parameters) const {
  FL_CHECK(parameters.size() == graph().parameters.total(),
           "as many parameters as the graph's layout");
  if (!pass_->measured()) return;
  constexpr float kShare = 0.1F;
  const TensorLayout& layout = graph().parameters;
  for (std::size_t i = 0; i < graph().nodes.size(); ++i) {
    const Node& node = graph().nodes[i];
    if (node.kind != OpKind::kBatchNorm) continue;
    const std::size_t channels = node.shape[node.shape.rank() - 1];
    const float* mean = pass_->forward().state(i);
    const float* variance = mean + channels;
    const std::size_t rows = pass_->last_batch() * node.shape.count() / channels;
    const auto values = static_cast<float>(rows);
    const float unbiased = values > 1 ? values / (values - 1) : 1.0F;
    float* to_mean = parameters.data() + layout.offset(node.parameters[2]);
    float* to_variance = parameters.data() + layout.offset(node.parameters[3]);
    for (std::size_t c = 0; c < channels; ++c) {
      to_mean[c] += kShare * (mean[c] - to_mean[c]);
      to_variance[c] += kShare * (variance[c] * unbiased - to_variance[c]);
    }
  }
}

std::span<const float> TrainingStep::outputs() const {
  return {pass_->forward().output(graph().nodes.size() - 1),
          pass_->last_batch() * graph().output_shape().count()};
}

}  // namespace fl::nn
