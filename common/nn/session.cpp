#include "fl/common/nn/session.h"

#include <algorithm>

#include "fl/common/nn/internal/factor_pass.h"
#include "fl/common/nn/internal/forward_pass.h"

namespace fl::nn {

using internal::FactorPass;
using internal::ForwardPass;

Session::Session(std::unique_ptr<FactorPass> factors, std::unique_ptr<ForwardPass> pass)
    : factors_(std::move(factors)), pass_(std::move(pass)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Result<Session> Session::Create(const Graph& graph, std::size_t batch_max,
                                InstructionSet instruction_set) {
  FL_TRY(std::unique_ptr<FactorPass> factors, FactorPass::Create(graph, instruction_set));
  const Graph& plain = factors != nullptr ? factors->plain() : graph;
  FL_TRY(std::unique_ptr<ForwardPass> pass,
         ForwardPass::Create(plain, batch_max, instruction_set, ForwardPass::Mode::kInference));
  return Session(std::move(factors), std::move(pass));
}

const Graph& Session::graph() const {
  return factors_ != nullptr ? factors_->graph() : pass_->graph();
}
std::size_t Session::batch_max() const {
  return pass_->batch_max();
}
std::size_t Session::memory_bytes() const {
  return pass_->memory_bytes();
}

void Session::Run(std::span<const float> parameters, std::span<const float> input,
                  std::size_t batch, std::span<float> output) {
  FL_CHECK(parameters.size() == graph().parameters.total(),
           "as many parameters as the graph's layout");
  FL_CHECK(input.size() == batch * graph().input_shape().count(), "input is batch x input shape");
  FL_CHECK(output.size() == batch * graph().output_shape().count(),
           "output is batch x output shape");
  const float* plain =
      factors_ != nullptr ? factors_->Materialize(parameters.data()) : parameters.data();
  pass_->Run(plain, input.data(), batch);
  std::ranges::copy_n(pass_->output(graph().nodes.size() - 1),
                      static_cast<std::ptrdiff_t>(output.size()), output.begin());
}

}  // namespace fl::nn
