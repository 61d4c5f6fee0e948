#include "fl/common/nn/gradient.h"

#include "fl/common/nn/internal/backward_pass.h"

namespace fl::nn {

using internal::BackwardPass;

TrainingStep::TrainingStep(std::unique_ptr<BackwardPass> pass) : pass_(std::move(pass)) {}
TrainingStep::TrainingStep(TrainingStep&&) noexcept = default;
TrainingStep& TrainingStep::operator=(TrainingStep&&) noexcept = default;
TrainingStep::~TrainingStep() = default;

Result<TrainingStep> TrainingStep::Create(const Graph& graph, std::size_t batch_max,
                                          InstructionSet instruction_set) {
  FL_TRY(std::unique_ptr<BackwardPass> pass,
         BackwardPass::Create(graph, batch_max, instruction_set));
  return TrainingStep(std::move(pass));
}

const Graph& TrainingStep::graph() const {
  return pass_->forward().graph();
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
  return pass_->Compute(parameters.data(), batch, gradient.data());
}

std::span<const float> TrainingStep::outputs() const {
  return {pass_->forward().output(graph().nodes.size() - 1),
          pass_->last_batch() * graph().output_shape().count()};
}

}  // namespace fl::nn
