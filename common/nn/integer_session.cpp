#include "fl/common/nn/integer_session.h"

#include "fl/common/base/check.h"
#include "fl/common/nn/internal/dynamic_pass.h"
#include "fl/common/nn/internal/integer_pass.h"

namespace fl::nn {

using internal::DynamicPass;
using internal::IntegerPass;

IntegerSession::IntegerSession(std::unique_ptr<IntegerPass> pass) : pass_(std::move(pass)) {}
IntegerSession::IntegerSession(std::unique_ptr<DynamicPass> pass) : dynamic_(std::move(pass)) {}
IntegerSession::IntegerSession(IntegerSession&&) noexcept = default;
IntegerSession& IntegerSession::operator=(IntegerSession&&) noexcept = default;
IntegerSession::~IntegerSession() = default;

Result<IntegerSession> IntegerSession::Create(const QuantizedModel& model, std::size_t batch_max,
                                              IntegerInstructionSet instruction_set) {
  if (model.dynamic()) {
    FL_TRY(std::unique_ptr<DynamicPass> dynamic,
           DynamicPass::Create(model, batch_max, instruction_set));
    return IntegerSession(std::move(dynamic));
  }
  FL_TRY(std::unique_ptr<IntegerPass> pass, IntegerPass::Create(model, batch_max, instruction_set));
  return IntegerSession(std::move(pass));
}

Result<IntegerSession> IntegerSession::CreateObserved(const QuantizedModel& model,
                                                      std::size_t batch_max,
                                                      IntegerInstructionSet instruction_set) {
  if (model.dynamic()) {
    return Error{ErrorCode::kUnsupported,
                 "a model whose activations are rounded in each run keeps no integers between"};
  }
  FL_TRY(std::unique_ptr<IntegerPass> pass,
         IntegerPass::Create(model, batch_max, instruction_set, IntegerPass::Mode::kObserve));
  return IntegerSession(std::move(pass));
}

const Graph& IntegerSession::graph() const {
  return dynamic_ != nullptr ? dynamic_->graph() : pass_->graph();
}
std::size_t IntegerSession::batch_max() const {
  return dynamic_ != nullptr ? dynamic_->batch_max() : pass_->batch_max();
}

void IntegerSession::Run(std::span<const float> input, std::size_t batch, std::span<float> output) {
  FL_CHECK(batch >= 1 && batch <= batch_max(), "a batch has 1 to batch_max samples");
  FL_CHECK(input.size() == batch * graph().input_shape().count(), "input is batch x input shape");
  FL_CHECK(output.size() == batch * graph().output_shape().count(),
           "output is batch x output shape");
  if (dynamic_ != nullptr) {
    dynamic_->Run(input.data(), batch, output.data());
  } else {
    pass_->Run(input.data(), batch, output.data());
  }
}

void IntegerSession::Read(std::size_t node, std::span<float> values) const {
  FL_CHECK(pass_ != nullptr && node < graph().nodes.size() &&
               values.size() <= batch_max() * graph().nodes[node].shape.count(),
           "a node of an observed session, and at most its values");
  pass_->Read(node, values.size(), values.data());
}

}  // namespace fl::nn
